"""An endpoint on a Ray cluster loses a node under load: every request is answered, or refused with 503."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment.deploy import DeployOptions, deploy_to_ray, rollback, scale, undeploy, update
from clearsight.workflow.deployment.endpoint_status import endpoints
from clearsight.workflow.paths import Paths
from clearsight.workflow.predict import predict
from tests.tuning.executors.ray_environment import ray_environment
from tests.walks.test_ray_study import unused_port

pytest.importorskip("ray.serve", reason="the extra clearsight[ray-serve] is not installed")

from ray.cluster_utils import Cluster

__all__ = ["unused_port"]  # a fixture
pytestmark = pytest.mark.slow

_HERE = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": 1}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head node and another one, each for one replica; both on loopback."""
    with ray_environment(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves files open
        cluster = Cluster(initialize_head=True, head_node_args=_HERE)
        cluster.add_node(wait=True, **_HERE)
        cluster.wait_for_nodes()
        try:
            yield cluster
        finally:
            cluster.shutdown()


class Clients:
    """Clients without a pause. statuses: of the responses, or the names of errors."""

    def __init__(self, url: str, photo: bytes) -> None:
        self.statuses: Counter[str] = Counter()
        self._url, self._photo, self._stop = url, photo, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]
        self._progress = threading.Condition()

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._stop.is_set():
                try:
                    outcome = str(client.post(f"{self._url}/invocations", content=self._photo).status_code)
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                with self._progress:
                    self.statuses[outcome] += 1
                    self._progress.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait for so many more responses."""
        with self._progress:
            end = self.statuses.total() + count
            assert self._progress.wait_for(lambda: self.statuses.total() >= end, 120)


def test_a_node_is_lost_under_load(cluster: Cluster, tmp_path: Path, shared: Path, unused_port: int) -> None:
    photo, home = shared / "data" / "bad-inputs" / "good.jpg", tmp_path / "home"
    first, second = make_bundle(tmp_path / "first").path, make_bundle(tmp_path / "second", temperature=4.0).path
    paths = Paths.of({"CLEARSIGHT_HOME": str(home)})
    options = DeployOptions(workers=(2, 2), port=unused_port)
    status = deploy_to_ray(first, "dogs", options, address=cluster.address, home=home)
    assert (status.status, status.model, status.workers) == ("running", "mean_colour", 2)
    with Clients(status.url, photo.read_bytes()) as clients:
        clients.wait_for(300)
        [other] = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
        cluster.remove_node(other, allow_graceful=False)
        clients.wait_for(1000)
    assert set(clients.statuses) <= {"200", "503"}
    assert clients.statuses["200"] > 1000
    remote = predict("endpoint:dogs", [photo], paths=paths).probabilities
    np.testing.assert_allclose(remote, predict(first, [photo]).probabilities, atol=1e-6)

    with pytest.raises(BadValue, match="one of this name already"):
        deploy_to_ray(first, "dogs", options, address=cluster.address, home=home)
    scale("dogs", (1, 1), home=home)
    assert update("dogs", second, home=home).version == 2
    np.testing.assert_allclose(
        predict("endpoint:dogs", [photo], paths=paths).probabilities,
        predict(second, [photo]).probabilities,
        atol=1e-6,
    )
    with pytest.raises(BadValue, match="it is on a Ray cluster"):
        rollback("dogs", home=home)
    undeploy("dogs", home=home)
    assert endpoints(home=home) == []
    with pytest.raises(NotFound):
        update("dogs", first, home=home)
