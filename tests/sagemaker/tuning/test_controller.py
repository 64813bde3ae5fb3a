"""TuningController round by round, with training jobs that the test ends, and a kill at every write to the table."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.endpoints.hosted_endpoints import HostedEndpoints
from clearsight_sagemaker.jobs.queue import JobQueue
from clearsight_sagemaker.resources.training_jobs import complete_creations
from clearsight_sagemaker.resources.tuning_jobs import create_tuning_job, describe_tuning_job, stop_tuning_job
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
from clearsight_sagemaker.state.service_state import TRAINING_JOB, TUNING_JOB, ServiceState
from clearsight_sagemaker.training.objects import JobObjects
from clearsight_sagemaker.tuning.controller import TuningController
from clearsight_sagemaker.tuning.tuning_job import TuningJob
from tests.sagemaker.tuning.tuning_requests import tuning_request

NAME = {"HyperParameterTuningJobName": "hpo"}


class Killed(BaseException):
    """Raised in the place of a kill of the service."""


class KilledTable(ResourceTable):
    """A table whose process is killed at a write. at: its number, from 1.  after: the write is done before."""

    def __init__(self, url: str, at: int = 0, *, after: bool = False) -> None:
        super().__init__(url)
        self.writes, self._at, self._after = 0, at, after

    def add(self, resource: Resource) -> Resource:
        return self._write(lambda: super(KilledTable, self).add(resource))

    def change(self, kind: str, name: str, changed: Callable[[Resource], Resource]) -> Resource | None:
        return self._write(lambda: super(KilledTable, self).change(kind, name, changed))

    def _write(self, write: Callable[[], Any]) -> Any:
        self.writes += 1
        if self.writes == self._at and not self._after:
            raise Killed
        result = write()
        if self.writes == self._at:
            raise Killed
        return result


def started(home: Path, at: int = 0, *, after: bool = False) -> ServiceState:
    """Return the state of a service that was just started. at, after: of its table."""
    folder = ServiceHome(home)
    folder.create()
    table = KilledTable(folder.state_url(), at, after=after)
    queue = JobQueue(table, folder, kind=TRAINING_JOB, command=("run-job",), most=2, environment={})
    return ServiceState(
        home=folder,
        account=folder.account({}),
        table=table,
        queues={TRAINING_JOB: queue},
        endpoint_url="http://127.0.0.1:1",
        endpoints=HostedEndpoints(table, folder, JobObjects(folder.objects), threading.Lock()),
    )


def end_jobs(state: ServiceState) -> None:
    """End every training job that runs, with a loss that follows from its name."""
    for row in state.table.every(TRAINING_JOB, "InProgress", "Stopping"):
        folder = state.training_jobs.folder(row.name)
        if state.training_jobs.progress(row.name).ended:
            continue
        status = "Stopped" if folder.stop_file.exists() else "Completed"
        folder.append("metric", name="loss", value=float(row.document["request"]["HyperParameters"]["x"]))
        folder.append("finished", status=status)


def run_to_end(state: ServiceState) -> None:
    controller = TuningController(state)
    while controller.do_round():
        end_jobs(state)


def outcome(state: ServiceState) -> dict[str, Any]:
    """Return what is the same however often the service was killed."""
    found, rows = describe_tuning_job(state, NAME), state.table.every(TRAINING_JOB)
    resource = state.table.get(TUNING_JOB, "hpo")
    assert resource is not None
    children = TuningJob(resource).children
    assert [child.number for child in children] == [*range(1, len(children) + 1)]
    assert {child.name for child in children} == {row.name for row in rows}
    assert {row.document["tuning_job"] for row in rows} == {found["HyperParameterTuningJobArn"]}
    return {
        "status": found["HyperParameterTuningJobStatus"],
        "counters": found["TrainingJobStatusCounters"],
        "objectives": found["ObjectiveStatusCounters"],
        "best": (found["BestTrainingJob"] or {}).get("TunedHyperParameters"),
        "tuned": [child.tuned for child in children],
        "values": [child.end.value if child.end else None for child in children],
    }


def close(state: ServiceState) -> None:
    state.table.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """Outcome of a tuning job without a kill, and the number of its writes."""
    state = started(tmp_path_factory.mktemp("undisturbed"))
    create_tuning_job(state, tuning_request("hpo", jobs=2, parallel=2))
    run_to_end(state)
    found, writes = outcome(state), state.table.writes  # type: ignore[attr-defined]
    close(state)
    return found, writes


def test_a_tuning_job_creates_its_training_jobs_up_to_the_limits(tmp_path: Path) -> None:
    state = started(tmp_path)
    create_tuning_job(state, tuning_request("hpo", jobs=5, parallel=2))
    controller, active = TuningController(state), []
    while controller.do_round():
        active.append(len(state.table.every(TRAINING_JOB, "InProgress")))
        end_jobs(state)
    assert active == [2, 2, 1, 0]
    found = outcome(state)
    assert found["status"] == "Completed"
    assert found["counters"]["Completed"] == found["objectives"]["Succeeded"] == 5
    assert found["best"]["x"] == min((tuned["x"] for tuned in found["tuned"]), key=float)
    close(state)


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_write_neither_loses_nor_doubles_a_training_job(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], int], after: bool
) -> None:
    expected, writes = undisturbed
    assert writes > 10
    for at in range(2, writes + 1):  # the first write creates the tuning job
        state = started(tmp_path / str(at), at, after=after)
        try:
            create_tuning_job(state, tuning_request("hpo", jobs=2, parallel=2))
            run_to_end(state)
        except Killed:
            close(state)
            state = started(tmp_path / str(at))
            complete_creations(state)
            run_to_end(state)
        assert outcome(state) == expected, f"killed at write {at}"
        close(state)


def test_a_stop_ends_the_training_jobs_first(tmp_path: Path) -> None:
    state = started(tmp_path)
    create_tuning_job(state, tuning_request("hpo", jobs=5, parallel=2))
    controller = TuningController(state)
    controller.do_round()
    stop_tuning_job(state, NAME)
    controller.do_round()
    assert describe_tuning_job(state, NAME)["HyperParameterTuningJobStatus"] == "Stopping"
    run_to_end(state)
    found = outcome(state)
    assert (found["status"], found["counters"]["Stopped"]) == ("Stopped", 2)
    close(state)


def test_a_training_job_that_was_deleted_is_not_created_again(tmp_path: Path) -> None:
    state = started(tmp_path)
    create_tuning_job(state, tuning_request("hpo", jobs=2, parallel=1))
    controller = TuningController(state)
    controller.do_round()
    [row] = state.table.every(TRAINING_JOB)
    end_jobs(state)
    state.training_jobs.forget(row.name)
    run_to_end(state)
    assert row.name not in {other.name for other in state.table.every(TRAINING_JOB)}
    found = describe_tuning_job(state, NAME)
    assert found["TrainingJobStatusCounters"] == {
        "Completed": 1,
        "InProgress": 0,
        "Stopped": 1,
        "RetryableError": 0,
        "NonRetryableError": 0,
    }
    close(state)


def test_a_search_that_fails_ends_its_tuning_job_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: TuningJob) -> None:
        if job.resource.name == "other":
            raise ValueError("no such value")
        original(job)

    original = TuningJob.next_child
    state = started(tmp_path)
    for name in ("other", "hpo"):
        create_tuning_job(state, tuning_request(name, jobs=2))
    monkeypatch.setattr(TuningJob, "next_child", lambda job: fail(job) or original(job))  # type: ignore[func-returns-value]
    run_to_end(state)
    found = describe_tuning_job(state, {"HyperParameterTuningJobName": "other"})
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert found["FailureReason"] == "InternalServerError: the search failed: ValueError: no such value"
    assert outcome(state)["status"] == "Completed"
    close(state)
