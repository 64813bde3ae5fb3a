"""Connection to a Ray cluster: one that is started on this machine, or one that runs already.

Imports ray; the importer has made sure that it is installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import node, ray_constants
from ray._private import worker as ray_worker

from clearsight.core.errors import BadValue, StudyUnavailable
from clearsight.core.machine import default_variable

_CLIENT_PORT = 10001  # default port of Ray's client server
_KNOCK = 5.0  # seconds after which a host that does not accept a connection is given up
_PATIENCE = 90.0  # seconds for a connection: Ray starts a process for it, perhaps on a busy machine
_STORE = 100 << 20  # bytes of shared memory of a cluster that we start: no large object ever goes through Ray
_NODE = "127.0.0.1"
_FIX = "Start one there with: ray start --head --ray-client-server-port=10001."


class Cluster:
    """A connection, and the settings of Ray that it has changed.

    owned: the connection was made here. A connection that the surrounding program made is left open.
    """

    def __init__(self, owned: bool) -> None:
        self._owned = owned
        self._log = logging.getLogger("ray")
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)  # the study reports the deaths that matter as events
        if owned:  # Ray prints a worker's death on our standard output even with `log_to_driver` off
            ray_worker._worker_logs_enabled = False

    def close(self) -> None:
        """Disconnect, which ends a cluster that was started here."""
        if self._owned:
            ray.shutdown()
            ray_worker._worker_logs_enabled = True
        self._log.setLevel(self._level)


def connect(address: str) -> Cluster:
    """Connect to a cluster.

    address: "" for a new cluster on this machine that lives as long as the connection; ray://host:port (Ray Client); or
    host:port of a head node whose cluster this machine belongs to. $RAY_ADDRESS is ignored: the study's plan alone says
    where it runs. Raises StudyUnavailable if nothing answers.
    """
    if ray.is_initialized():
        if address:
            fix = "Pass --on ray to use that one, or call ray.shutdown() first."
            raise StudyUnavailable(f"--on {address}", "this program is already connected to a Ray cluster", fix=fix)
        return Cluster(owned=False)
    cluster = Cluster(owned=True)
    try:
        with warnings.catch_warnings(), _keep_signal_handler():
            warnings.simplefilter("ignore")  # unclosed files and future defaults of Ray, which users cannot change
            if not address:
                _start()
            elif address.startswith("ray://"):
                _join_as_client(address)
            else:
                _join(address)
    except BaseException:  # also KeyboardInterrupt: a half-made connection must be closed
        cluster.close()
        raise
    return cluster


def check_room(cpus: float, gpus: float) -> None:
    """Raise BadValue for a trial that needs more than the cluster on this machine has: it would wait for ever."""
    total = ray.cluster_resources()
    for flag, needed, name in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
        available = total.get(name, 0.0)
        if needed > available:
            raise BadValue(f"{flag} {needed:g}", f"this machine has {available:g} {name}s for the trials of a study")


def _init(address: str, **options: Any) -> None:
    ray.init(address, log_to_driver=False, configure_logging=False, **options)


def _start() -> None:
    """Start a cluster of this machine alone, which listens on loopback only and reports nothing to Ray's makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray's default is to report
    with _loopback(), _without_api_server(), _as_unavailable("ray", "start", "Its logs are in /tmp/ray."):
        _init("local", include_dashboard=False, object_store_memory=_STORE, _node_ip_address=_NODE)


@contextlib.contextmanager
def _keep_signal_handler() -> Iterator[None]:
    """Restore the program's SIGTERM handler after the block: Ray installs its own and leaves it there."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Other threads may not set handlers, and so Ray has set none there either.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray accept 127.0.0.1 as the address of a node within the block.

    Ray replaces it by the machine's outer address and listens on every interface, except on macOS and Windows; this
    constant makes it believe that it runs there. The environment variable behind the constant is read when ray is
    imported, which may have happened before, so the constant itself is set. The variable is for Ray's own processes,
    which otherwise ask the system for the way to a host of Google's.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with default_variable(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0"):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _without_api_server() -> Iterator[None]:
    """Let Ray start no API server within the block.

    Without a dashboard this process has one task, to report the use of Ray. Where that is off, it asks the metadata
    services of three clouds all the same which of them the machine belongs to.
    """
    start, node.Node.start_api_server = node.Node.start_api_server, lambda *_, **__: None
    try:
        yield
    finally:
        node.Node.start_api_server = start


def _join(address: str) -> None:
    """Connect as a driver to a cluster that has a node on this machine."""
    _knock(address, None)
    host = urlsplit(f"//{address}").hostname
    node_address = _loopback() if host in ("localhost", _NODE) else contextlib.nullcontext()
    with node_address, _as_unavailable(address, "connect", _FIX):
        _init(address)


def _join_as_client(address: str) -> None:
    """Connect to the client server of a cluster's head node."""
    _knock(address, _CLIENT_PORT)
    url = urlsplit(address)
    full = address if url.port else f"{address.rstrip('/')}:{_CLIENT_PORT}"
    with _as_unavailable(address, "connect", _FIX):
        _within(_PATIENCE, lambda: _init_client(full))


def _init_client(url: str) -> None:
    """Connect, with a second try if the server failed to start.

    The cluster forks a server for each client out of a process with threads, and now and then that child dies before it
    has sent anything.
    """
    try:
        _init(url)
    except ConnectionAbortedError:
        ray.shutdown()
        _init(url)


def _knock(address: str, port: int | None) -> None:
    """Raise StudyUnavailable if nothing listens at the address: Ray itself would go on trying for a minute."""
    try:
        url = urlsplit(address if "://" in address else f"//{address}")
        host, port = url.hostname, url.port or port
    except ValueError:
        host = None
    if not host or port is None:
        raise BadValue(f"--on {address}", "not the address of a cluster", fix="Pass ray://HOST:PORT, or ray alone.")
    try:
        socket.create_connection((host, port), _KNOCK).close()
    except OSError as error:
        cause = error.strerror or "it does not answer"
        raise StudyUnavailable(f"--on {address}", f"no Ray cluster is there ({cause})", fix=_FIX) from None


@contextlib.contextmanager
def _as_unavailable(target: str, action: str, fix: str) -> Iterator[None]:
    """Turn every error of Ray within the block into StudyUnavailable."""
    try:
        yield
    except Exception as error:  # ray.init raises RuntimeError, ValueError, ConnectionError, gRPC's own errors and more
        cause = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise StudyUnavailable(f"--on {target}", f"Ray cannot {action} ({cause})", fix=fix) from error


def _within(seconds: float, action: Callable[[], Any]) -> None:
    """Run an action that may hang on a thread of its own, which is left behind after `seconds`."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:  # raised again below, on the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, name="connecting to Ray", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no connection within {seconds:.0f} seconds")
    if raised:
        raise raised[0]
