"""Endpoints outlive the command, keep their address, and change their model without losing a request."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from clearsight.cli import main
from clearsight.core.errors import BadBundle, BadValue, ClearsightError, NotFound
from clearsight.core.machine import process_identity
from clearsight.jobs.client import jobs_of
from clearsight.serving.endpoint_files import EndpointFiles, WorkerState
from clearsight.serving.metrics import WorkerCounters, prometheus, retire, totals
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.deployment import deploy as verbs
from clearsight.workflow.deployment.deploy import DeployOptions, deploy, rollback, scale, undeploy, update
from clearsight.workflow.deployment.endpoint_status import EndpointStatus, endpoints
from clearsight.workflow.paths import Paths
from clearsight.workflow.predict import predict
from clearsight.workflow.transform.transform import transform


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition; fail the test if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return bool(process_identity(pid)["start"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home for endpoints; all are removed at the end and their supervisor is ended."""
    home = tmp_path / "home"
    yield home
    for folder in (home / "endpoints").glob("*/"):
        with contextlib.suppress(NotFound):
            undeploy(folder.name, home=home)
    with jobs_of(home) as jobs:
        identity = jobs._store.supervisor
    if identity and alive(identity["pid"]):
        os.kill(identity["pid"], signal.SIGTERM)
        until(lambda: not alive(identity["pid"]))


@pytest.fixture
def photo(shared: Path) -> Path:
    """A real JPEG."""
    return shared / "data" / "bad-inputs" / "good.jpg"


def started(home: Path, bundle: Path, **options: object) -> EndpointStatus:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return deploy(bundle, "dogs", DeployOptions(**options), home=home, environment=environment)  # type: ignore[arg-type]


def first(bundle: Path) -> Path:
    """Write the bundle of `mean_colour`."""
    return make_bundle(bundle).path


def second(bundle: Path) -> Path:
    """Write a bundle whose answers are less certain, which tells it from the first."""
    return make_bundle(bundle, temperature=4.0).path


def workers(home: Path) -> tuple[WorkerState, ...]:
    """Return the workers as the pool reports them."""
    state = EndpointFiles(home / "endpoints" / "dogs").read_state()
    assert state is not None
    return state.workers


def pids(home: Path) -> list[int]:
    """Return the PIDs of the workers that answer."""
    return [worker.pid for worker in workers(home) if worker.status == "ready"]


class Clients:
    """Threads that ask an endpoint without a pause. answers: (status, probability of red) of each request."""

    def __init__(self, url: str, photo: bytes, threads: int = 4) -> None:
        self.answers: list[tuple[int, float]] = []
        self.errors: list[Exception] = []
        self._stop, self._url, self._photo = threading.Event(), url, photo
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/invocations", content=self._photo)
                    red = response.json()["probabilities"]["red"] if response.status_code == 200 else 0.0
                    self.answers.append((response.status_code, red))
                except httpx.HTTPError as error:
                    self.errors.append(error)

    def wait_for(self, count: int) -> None:
        """Wait for so many more answers."""
        end = len(self.answers) + count
        until(lambda: len(self.answers) >= end)


def test_a_deployed_model_answers_as_the_bundle_does_and_is_gone_afterwards(
    home: Path, tmp_path: Path, photo: Path
) -> None:
    bundle = first(tmp_path / "bundle")
    status = started(home, bundle, workers=(2, 2))
    assert (status.status, status.workers, status.model) == ("running", 2, "mean_colour")
    remote = predict("endpoint:dogs", [photo], paths=Paths.of({"CLEARSIGHT_HOME": str(home)}))
    np.testing.assert_allclose(remote.probabilities, predict(bundle, [photo]).probabilities, atol=1e-6)
    damaged = photo.with_name("truncated_header.jpg")
    bad = predict("endpoint:dogs", [damaged], paths=Paths.of({"CLEARSIGHT_HOME": str(home)}))[0].error
    assert bad is not None
    assert bad.startswith("its jpeg header is damaged")
    found = endpoints(home=home)[0]
    assert (found.requests, found.errors, sum(found.classes.values())) == (2, 0, 1)
    result = transform(
        "endpoint:dogs", [photo, "gone.jpg"], tmp_path / "out.csv", paths=Paths.of({"CLEARSIGHT_HOME": str(home)})
    )
    assert (result.model, result.images, result.errors) == ("endpoint:dogs", 2, 1)
    assert transform(bundle, [photo, "gone.jpg"], tmp_path / "out.csv").written == 0, "it is the same model"
    assert found.memory > 10 << 20
    assert tuple(found.classes) == CLASSES
    before = pids(home)
    undeploy("dogs", home=home)
    assert not any(alive(pid) for pid in before)
    assert endpoints(home=home) == []
    assert not (home / "endpoints" / "dogs").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(status.url, trust_env=False)


def test_another_model_comes_into_service_under_load_and_no_request_is_lost(
    home: Path, tmp_path: Path, photo: Path
) -> None:
    status = started(home, first(tmp_path / "one"))
    content = photo.read_bytes()
    one, two = (
        float(predict(bundle, [photo]).probabilities[0, CLASSES.index("red")])
        for bundle in (tmp_path / "one", second(tmp_path / "two"))
    )
    with Clients(status.url, content) as clients:
        clients.wait_for(20)
        assert update("dogs", tmp_path / "two", home=home).version == 2
        clients.wait_for(20)
        assert scale("dogs", (2, 2), home=home).workers == 2
        clients.wait_for(20)
        back = rollback("dogs", home=home)
        until(lambda: {worker.version for worker in workers(home)} == {1})  # the others have ended
        clients.wait_for(20)
    assert (back.version, back.status) == (1, "running")
    assert clients.errors == []
    assert {code for code, _ in clients.answers} == {200}
    reds = np.array([red for _, red in clients.answers])
    is_one, is_two = np.isclose(reds, one, atol=1e-4), np.isclose(reds, two, atol=1e-4)
    assert np.all(is_one | is_two)
    assert is_one[0]
    assert is_two.any()
    assert is_one[-1]
    assert endpoints(home=home)[0].requests == len(clients.answers)  # also those of workers that have ended


def test_a_model_that_cannot_be_loaded_is_refused_and_the_old_one_goes_on(
    home: Path, tmp_path: Path, photo: Path
) -> None:
    status = started(home, first(tmp_path / "one"))
    broken = make_bundle(tmp_path / "broken")
    (broken.path / "model.onnx").write_bytes(b"no network")
    broken.seal(broken.path)
    with pytest.raises(ClearsightError, match=r"the new version does not start, the old one goes on: .*model\.onnx"):
        update("dogs", broken.path, home=home)
    assert httpx.post(f"{status.url}/invocations", content=photo.read_bytes(), trust_env=False).status_code == 200
    assert update("dogs", second(tmp_path / "two"), home=home).status == "running"  # the next one is another matter
    with pytest.raises(BadBundle):
        update("dogs", tmp_path, home=home)


def test_a_first_model_that_cannot_be_loaded_fails_with_the_reason_and_leaves_nothing(
    home: Path, tmp_path: Path
) -> None:
    broken = make_bundle(tmp_path / "broken")
    (broken.path / "model.onnx").write_bytes(b"no network")
    broken.seal(broken.path)
    with pytest.raises(ClearsightError, match=r"did not come into service: its model cannot be served: .*model\.onnx"):
        started(home, broken.path)
    assert endpoints(home=home) == []


def test_killed_workers_are_replaced(home: Path, tmp_path: Path, photo: Path) -> None:
    started(home, first(tmp_path / "one"), workers=(2, 2))
    before = pids(home)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(pids(home)) == 2 and before[0] not in pids(home))
    found = endpoints(home=home)[0]
    assert (found.status, found.workers, found.replaced) == ("running", 2, 1)


def test_an_endpoint_answers_again_after_everything_was_killed(home: Path, tmp_path: Path, photo: Path) -> None:
    status = started(home, first(tmp_path / "one"))
    with jobs_of(home) as jobs:
        supervisor, pool = jobs._store.supervisor["pid"], jobs.get("dogs").state.process["pid"]
    for pid in (supervisor, pool, *pids(home)):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pool))
    endpoints(home=home)  # the next command
    until(lambda: endpoints(home=home)[0].status == "running")
    assert httpx.post(f"{status.url}/invocations", content=photo.read_bytes(), trust_env=False).status_code == 200


def test_workers_end_after_their_pool_was_killed_and_another_pool_takes_over(
    home: Path, tmp_path: Path, photo: Path
) -> None:
    started(home, first(tmp_path / "one"))
    before = pids(home)
    with jobs_of(home) as jobs:
        os.kill(jobs.get("dogs").state.process["pid"], signal.SIGKILL)
    until(lambda: bool(pids(home)) and pids(home) != before)
    until(lambda: not any(map(alive, before)))
    remote = predict("endpoint:dogs", [photo], paths=Paths.of({"CLEARSIGHT_HOME": str(home)}))
    assert remote[0].error is None


def test_a_token_is_asked_for_but_not_by_health_checks(home: Path, tmp_path: Path, photo: Path) -> None:
    with pytest.raises(BadValue, match="at least 16 ASCII characters"):
        started(home, first(tmp_path / "one"), token="short")
    status = started(home, first(tmp_path / "one"), token="a-long-secret-token")
    with httpx.Client(base_url=status.url, trust_env=False) as client:
        assert client.get("/ping").status_code == client.get("/livez").status_code == 200
        assert client.get("/metrics").status_code == client.post("/invocations").status_code == 401
        wrong = client.get("/", headers={"Authorization": "Bearer a-long-secret-tokem"})
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"] == "Bearer"
        assert client.get("/", headers={"Authorization": "bearer a-long-secret-token"}).status_code == 200
    remote = predict("endpoint:dogs", [photo], paths=Paths.of({"CLEARSIGHT_HOME": str(home)}))
    assert remote[0].error is None
    assert (home / "endpoints" / "dogs" / "token").stat().st_mode & 0o077 == 0


def test_a_name_is_used_once_and_the_nearest_is_offered(home: Path, tmp_path: Path) -> None:
    started(home, first(tmp_path / "one"))
    with pytest.raises(BadValue, match="there is one of this name already"):
        started(home, tmp_path / "one")
    with pytest.raises(NotFound, match=r"endpoint dog: there is no endpoint of this name.*Did you mean dogs\?"):
        undeploy("dog", home=home)
    with pytest.raises(BadValue, match="it has no earlier version"):
        rollback("dogs", home=home)


def test_the_command_line_deploys_lists_and_undeploys(
    home: Path, tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEARSIGHT_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    assert main(["endpoints"]) == 0
    assert "no endpoints; deploy one with" in capsys.readouterr().out
    assert main(["deploy", str(first(tmp_path / "one")), "--name", "dogs"]) == 0
    assert "clearsight predict endpoint:dogs IMAGE.jpg" in capsys.readouterr().out
    assert main(["predict", "endpoint:dogs", str(photo)]) == 0
    assert str(photo) in capsys.readouterr().out
    assert main(["endpoints"]) == 0
    assert "running" in capsys.readouterr().out
    assert main(["endpoint", "logs", "dogs"]) == 0
    assert "POST /invocations 200" in capsys.readouterr().out
    assert main(["endpoint", "log", "dogs"]) == 2
    assert "Did you mean logs?" in capsys.readouterr().err
    assert main(["endpoint", "update", "dogs"]) == 2
    assert main(["undeploy", "dogs"]) == 0
    assert main(["predict", "endpoint:dogs", str(photo)]) == 2
    assert "there is no endpoint of this name" in capsys.readouterr().err


def test_counters_of_several_workers_are_added_and_outlive_them(tmp_path: Path) -> None:
    workers = [WorkerCounters(tmp_path, 2, pid) for pid in (11, 12)]
    for number, counters in enumerate(workers):
        for latency in (0.001, 0.012, 60.0):
            counters.begin()
            counters.end(200, latency)
        counters.begin()
        counters.end(503 if number else 0, 0.001)
        counters.begin()
        counters.predicted([0, 1, 1], [0.5, 0.75, 1.0])
        counters.close()
    retire(tmp_path, 11)
    sums = totals(tmp_path)
    assert sums.in_progress == 1  # of the living one
    assert sums.requests == {"2xx": 6, "3xx": 0, "4xx": 0, "5xx": 1, "none": 1}
    assert (sums.images, sums.classes, sums.confidence) == (6, (2, 4), 4.5)
    assert sums.quantile(0.5) == 0.002
    assert sums.quantile(0.99) == 30.0
    text = prometheus(sums, ['a"b', "c"])
    assert 'clearsight_predictions_total{class="a\\"b"} 2' in text
    assert 'clearsight_request_seconds_bucket{le="+Inf"} 8' in text


def test_where_the_home_is(tmp_path: Path) -> None:
    assert Paths.of({"CLEARSIGHT_HOME": str(tmp_path)}).home == tmp_path
    assert Paths.of({"XDG_STATE_HOME": str(tmp_path)}).home == tmp_path / "clearsight"
    assert verbs.default_workers() >= 1
