"""A connection to a Ray cluster: one that is started on this machine, or one that is there already.

Imports ray; whoever imports this module has made sure that it is installed.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from clearsight.core.errors import BadValue, StudyUnavailable

_CLIENT_PORT = 10001  # where Ray's own client server listens unless somebody says otherwise
_KNOCK = 5.0  # seconds until a host that says nothing is given up
_PATIENCE = 90.0  # seconds until a connection must stand: Ray starts a process for it, on a machine that may be busy
_STORE = 100 << 20  # bytes of shared memory of a cluster of ours: nothing large ever goes through Ray
_NODE = "127.0.0.1"
_FIX = "Start one there with: ray start --head --ray-client-server-port=10001."


class Cluster:
    """A connection, and what has to be undone after it.

    own: whether it was made here; where the program around us was connected already, that is left as it is.
    """

    def __init__(self, own: bool) -> None:
        self.own = own
        self._log = logging.getLogger("ray")
        self._level = self._log.level
        self._log.setLevel(logging.ERROR)  # what matters of it reaches the study as an event
        if own:  # a worker's death is said on our standard output too, even where `log_to_driver` is off
            ray_worker._worker_logs_enabled = False

    def close(self) -> None:
        """Let go of the cluster, which ends one that was started here."""
        if self.own:
            ray.shutdown()
            ray_worker._worker_logs_enabled = True
        self._log.setLevel(self._level)


def connect(address: str) -> Cluster:
    """A cluster: "" for one on this machine, for as long as the connection lasts; else ray://host:port (Ray Client),
    or host:port of a head node whose cluster this machine is a member of.

    $RAY_ADDRESS decides nothing: a study says itself where it runs. Raises StudyUnavailable where nothing answers.
    """
    if ray.is_initialized():
        if address:
            fix = "Say --on ray to use that one, or call ray.shutdown() first."
            raise StudyUnavailable(f"--on {address}", "this program is connected to a Ray cluster already", fix=fix)
        return Cluster(own=False)
    cluster = Cluster(own=True)
    try:
        with warnings.catch_warnings(), _own_signals():
            warnings.simplefilter("ignore")  # Ray's about itself: files it leaves to be closed, defaults of next year
            if not address:
                _start()
            elif address.startswith("ray://"):
                _join_as_client(address)
            else:
                _join(address)
    except BaseException:
        cluster.close()
        raise
    return cluster


def check_room(cpus: float, gpus: float) -> None:
    """Raise BadValue for a trial that asks for more than the cluster on this machine has: it would wait for ever."""
    there = ray.cluster_resources()
    for flag, wanted, name in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
        if wanted > (has := there.get(name, 0.0)):
            raise BadValue(f"{flag} {wanted:g}", f"this machine has {has:g} {name}s for the trials of a study")


def _start() -> None:
    """A cluster of this machine alone: nothing of it listens beyond loopback."""
    with _loopback(), _said("ray", "start", "Its logs are in /tmp/ray."):
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=_STORE,
            _node_ip_address=_NODE,
        )


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What SIGTERM does is the program's affair: Ray would set a handler of its own and leave it there."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere neither of us may set one
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Within the block Ray takes 127.0.0.1 for the address of a node.

    It would put the machine's outer address in its place and listen on every interface. On macOS and Windows it does
    not, and that it is one of these is what it is told; the variable that says so is read when ray is imported, which
    may be long ago.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _join(address: str) -> None:
    """Become a driver of a cluster that has a node on this machine."""
    _knock(address, None)
    host = urlsplit(f"//{address}").hostname
    near = _loopback() if host in ("localhost", _NODE) else contextlib.nullcontext()
    with near, _said(address, "connect", _FIX):
        ray.init(address=address, log_to_driver=False, configure_logging=False)


def _join_as_client(address: str) -> None:
    """Speak to a cluster through the client server of its head node."""
    _knock(address, _CLIENT_PORT)
    url = urlsplit(address)
    full = address if url.port else f"{address.rstrip('/')}:{_CLIENT_PORT}"
    with _said(address, "connect", _FIX):
        _within(_PATIENCE, lambda: _init_client(full))


def _init_client(url: str) -> None:
    """Connect, and once more where the server could not begin: the cluster forks one for each client out of a process
    with threads, and now and then the child dies of it before it has said a word."""
    try:
        ray.init(url, log_to_driver=False, configure_logging=False)
    except ConnectionAbortedError:
        ray.shutdown()
        ray.init(url, log_to_driver=False, configure_logging=False)


def _knock(address: str, port: int | None) -> None:
    """Raise StudyUnavailable where nobody listens: Ray itself would go on trying for a minute."""
    try:
        url = urlsplit(address if "://" in address else f"//{address}")
        host, port = url.hostname, url.port or port
    except ValueError:
        host = None
    if not host or port is None:
        raise BadValue(f"--on {address}", "it names no cluster", fix="Say ray://HOST:PORT, or ray alone.")
    try:
        socket.create_connection((host, port), _KNOCK).close()
    except OSError as error:
        why = error.strerror or "it does not answer"
        raise StudyUnavailable(f"--on {address}", f"no Ray cluster is there ({why})", fix=_FIX) from None


@contextlib.contextmanager
def _said(where: str, act: str, fix: str) -> Iterator[None]:
    """Words for whatever Ray raises when it cannot do what it should; it has no common kind of error for that."""
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
        raise StudyUnavailable(f"--on {where}", f"Ray cannot {act} ({why})", fix=fix) from error


def _within(seconds: float, act: Callable[[], Any]) -> None:
    """Do something that may hang, on a thread that is left behind if it does."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # carried over to the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, name="connecting to Ray", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no connection within {seconds:.0f} seconds")
    if raised:
        raise raised[0]
