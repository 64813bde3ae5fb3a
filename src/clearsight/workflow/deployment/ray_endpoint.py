"""Endpoints on Ray Serve: the same application in replicas on the nodes of a running Ray cluster.

The cluster keeps the replicas: it replaces those that end, scales them by their load, and shares requests among them.
Here are only the files that say where an endpoint is. ray is imported where the cluster is asked.
"""

from __future__ import annotations

import http.client
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadData, BadValue, ClearsightError, missing_extra
from clearsight.core.files import json_text, read_json, write_text
from clearsight.core.format import size
from clearsight.workflow.deployment.ray_replica import ReplicaOptions, build

_MOST_BYTES = 400 << 20  # of a packed bundle: it travels through the cluster's store of settings
_ONGOING, _QUEUED = 32, 256  # requests of a replica at a time, and waiting for one; more are refused with 503
_TARGET = 8  # requests in progress in each replica that autoscaling aims at
_LIVE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RayEndpoint:
    """An endpoint on a cluster. address: of the cluster, host:port or ray://host:port.  replicas: at least and at most.

    cpus: that each replica reserves.  version: grows with every change.
    """

    name: str
    address: str
    host: str = "127.0.0.1"
    port: int = 8000
    model: str = ""
    replicas: tuple[int, int] = (1, 1)
    cpus: float = 1.0
    version: int = 1
    token: str = ""
    replica: ReplicaOptions = ReplicaOptions()  # noqa: RUF009 - a frozen value

    @property
    def url(self) -> str:
        """Return the address that a client on the machine of a proxy opens."""
        host = {"0.0.0.0": "127.0.0.1"}.get(self.host, self.host)
        return f"http://{host}:{self.port}/{self.name}"


def read_ray_endpoint(folder: Path) -> RayEndpoint | None:
    """Return the endpoint whose files are in a folder; None for one that is not on Ray. Raises BadData."""
    path = folder / "ray.json"
    if not path.is_file():
        return None
    try:
        values = read_json(path)
        replica = ReplicaOptions(**{**values["replica"], "origins": tuple(values["replica"]["origins"])})
        return RayEndpoint(**{**values, "replicas": tuple(values["replicas"]), "replica": replica})
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(str(path), f"it is damaged ({error})", fix="Deploy the endpoint again.") from None


def deploy_on_ray(endpoint: RayEndpoint, model: Path | None, folder: Path) -> RayEndpoint:
    """Serve a model from replicas on a cluster; return the endpoint once they answer.

    model: run or bundle; None for the one that is served.  folder: for the files of the endpoint, with the bundle.
    Raises MissingExtra without Ray Serve, StudyUnavailable without a cluster, ClearsightError for replicas that do not
    start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "bundle.tar.gz"
    if model is not None:
        with open_bundle(model) as bundle, tempfile.TemporaryDirectory(dir=folder) as temporary:
            packed = bundle.pack(Path(temporary) / archive.name)
            if packed.stat().st_size > _MOST_BYTES:
                held = size(packed.stat().st_size)
                raise BadValue(str(model), f"its bundle has {held}; at most {size(_MOST_BYTES)} go through a cluster")
            packed.replace(archive)
            endpoint = replace(endpoint, model=bundle.model)
    with _connected(endpoint.address) as serve:
        _start_proxies(serve, endpoint)
        if endpoint.version == 1 and model is not None and endpoint.name in serve.status().applications:
            raise BadValue(f"endpoint {endpoint.name}", "the cluster has an application of this name already")
        _run(serve, endpoint, archive.read_bytes())
    write_text(folder / "ray.json", json_text(asdict(endpoint)) + "\n", private=True)  # the token is in it
    return endpoint


def remove_from_ray(endpoint: RayEndpoint, folder: Path) -> None:
    """End the replicas of an endpoint, and remove its files. A cluster that is gone took them along."""
    try:
        with _connected(endpoint.address) as serve:
            serve.delete(endpoint.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_alive(endpoint: RayEndpoint) -> bool:
    """Return True if a replica answers."""
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_LIVE_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a cluster for the duration of the block; yield ray.serve."""
    try:
        import ray
        from ray import serve
    except ImportError:
        raise missing_extra("ray[serve]", "ray-serve", "--on ray") from None
    from clearsight.tuning.executors.ray_cluster import connect

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    cluster = connect(_running_cluster() if address == "ray" else address)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # future defaults of Ray, which users cannot change
            yield serve
    finally:
        if ray.is_initialized():
            cluster.close()


def _running_cluster() -> str:
    """Return the address of the cluster that runs on this machine; raises ClearsightError where none does."""
    from ray._private.utils import read_ray_address

    address = read_ray_address()
    if not address:
        fix = "Start one with: ray start --head, or name one with --on ray://HOST:10001."
        raise ClearsightError("--on ray", "no Ray cluster runs on this machine", fix=fix)
    return str(address)


def _start_proxies(serve: Any, endpoint: RayEndpoint) -> None:
    """Start the HTTP proxies of the cluster where they do not run: one on each machine.

    Raises BadValue where they run already and listen elsewhere.
    """
    import ray
    from ray.serve.context import _get_global_client

    nodes = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    # Nodes that share a machine cannot listen on one port all together.
    place = "EveryNode" if len(set(nodes)) == len(nodes) else "HeadOnly"
    serve.start(proxy_location=place, http_options={"host": endpoint.host, "port": endpoint.port})
    listening = _get_global_client().http_config
    if listening.port != endpoint.port:
        fix = f"Pass --port {listening.port}."
        raise BadValue(f"--port {endpoint.port}", f"the cluster's proxies listen on {listening.port}", fix=fix)


def _run(serve: Any, endpoint: RayEndpoint, archive: bytes) -> None:
    least, most = endpoint.replicas
    options, token = endpoint.replica, endpoint.token
    scaling: Mapping[str, Any] = (
        {"num_replicas": least}
        if least == most
        else {
            "autoscaling_config": {
                "min_replicas": least,
                "max_replicas": most,
                "target_ongoing_requests": _TARGET,
            }
        }
    )

    @serve.ingress(lambda: build(archive, options, token))
    class Replica:
        """A process that serves the bundle; Ray Serve checks that it lives."""

    deployment = serve.deployment(
        name="endpoint",
        ray_actor_options={"num_cpus": endpoint.cpus},
        max_ongoing_requests=_ONGOING,
        max_queued_requests=_QUEUED,
        health_check_period_s=2,
        health_check_timeout_s=10,
        **scaling,
    )(Replica)
    try:
        serve.run(deployment.bind(), name=endpoint.name, route_prefix=f"/{endpoint.name}")
    except RuntimeError as error:
        serve.delete(endpoint.name)
        raise ClearsightError(f"endpoint {endpoint.name}", f"its replicas do not start: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return the last line of what Ray says that has more than a frame of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "no reason is given")
