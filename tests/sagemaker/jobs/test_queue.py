"""JobQueue round by round, with a supervisor that only notes what it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.jobs.client import Jobs
from clearsight.jobs.job import Job, JobSpec, JobState, JobStatus
from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.jobs.queue import JobQueue, process_name
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable

KIND = "training-job"


class NotedJobs(Jobs):
    """Jobs of a supervisor that starts nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs = folder, dict[str, Job]()
        self.removed: list[str] = []

    def all(self) -> list[Job]:
        return [*self.jobs.values()]

    def start(self, spec: JobSpec) -> int:
        self.jobs[spec.name] = Job(spec=spec, state=JobState(status=JobStatus.RUNNING))
        return 1

    def remove(self, name: str) -> None:
        self.removed.append(name)
        del self.jobs[name]

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def end(self, name: str, status: JobStatus, reason: str = "") -> None:
        """Let a process end."""
        process = process_name(KIND, name)
        job = self.jobs[process]
        self.jobs[process] = replace(job, state=job.state.changed(status, reason=reason))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ResourceTable]:
    table = ResourceTable(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield table
    table.close()


@pytest.fixture
def queue(table: ResourceTable, tmp_path: Path) -> JobQueue:
    return JobQueue(table, ServiceHome(tmp_path), kind=KIND, command=("run-job",), most=2, environment={"PATH": "/bin"})


def add(table: ResourceTable, queue: JobQueue, name: str) -> None:
    queue.folder(name).create({}, {})
    table.add(Resource(kind=KIND, name=name, status="InProgress", document={"state": {"secondary": "Starting"}}))


def running(processes: NotedJobs) -> list[str]:
    return [job.spec.folder.name for job in processes.all() if not job.state.status.ended]


def test_jobs_start_in_their_order_and_within_the_limit(table: ResourceTable, queue: JobQueue, tmp_path: Path) -> None:
    processes = NotedJobs(tmp_path)
    for name in ("c", "a", "b", "d"):
        add(table, queue, name)
    for _ in range(3):
        assert queue._round(processes)
        assert running(processes) == ["c", "a"]
    [waiting] = queue.progress("d").transitions
    assert (waiting.status, waiting.message) == (
        "Starting",
        "Waiting for other jobs: at most 2 jobs run at the same time",
    )
    assert queue.folder("d").events.read_text().count("\n") == 1, "it is said once"
    spec = processes.jobs[process_name(KIND, "c")].spec
    assert spec.command == ("run-job", str(tmp_path / "jobs" / KIND / "c"))
    assert spec.environment == {"PATH": "/bin"}
    queue.folder("c").append("finished", status="Completed")
    processes.end("c", JobStatus.COMPLETED)
    queue._round(processes)
    assert running(processes) == ["a", "b"]


def test_a_job_that_has_finished_makes_room_when_its_process_has_ended(
    table: ResourceTable, queue: JobQueue, tmp_path: Path
) -> None:
    processes = NotedJobs(tmp_path)
    for name in ("a", "b", "c"):
        add(table, queue, name)
    queue._round(processes)
    queue.folder("a").append("finished", status="Completed")
    queue._round(processes)
    assert running(processes) == ["a", "b"], "it may still write its last files"
    processes.end("a", JobStatus.COMPLETED)
    queue._round(processes)
    assert running(processes) == ["b", "c"]


def test_processes_that_have_ended_are_forgotten(table: ResourceTable, queue: JobQueue, tmp_path: Path) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue._round(processes)
    other = JobSpec(name="service", command=("serve",), folder=tmp_path)
    processes.jobs["service"] = Job(spec=other, state=JobState(status=JobStatus.FAILED))
    queue.folder("a").append("finished", status="Completed")
    processes.end("a", JobStatus.COMPLETED)
    while queue._round(processes):
        assert len(processes.removed) < 3
    assert processes.removed == [process_name(KIND, "a")]


def test_a_name_is_used_again_after_its_job_was_deleted(table: ResourceTable, queue: JobQueue, tmp_path: Path) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue._round(processes)
    queue.folder("a").append("finished", status="Completed")
    processes.end("a", JobStatus.COMPLETED)
    queue.record(table.every(KIND)[0])
    queue.forget("a")
    add(table, queue, "a")
    queue._round(processes)
    assert running(processes) == ["a"]
    # As long as the supervisor has not seen the new one, the state is that of the old one.
    process = process_name(KIND, "a")
    old = replace(processes.jobs[process], generation=2, state=JobState(status=JobStatus.COMPLETED, generation=1))
    processes.jobs[process] = old
    queue._round(processes)
    assert queue.progress("a").status == "InProgress"


def test_a_process_that_ends_without_a_result(table: ResourceTable, queue: JobQueue, tmp_path: Path) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue._round(processes)
    processes.log(process_name(KIND, "a")).write_text("Traceback\nImportError: torch\n")
    processes.end("a", JobStatus.FAILED, "ImportError: torch")
    queue._round(processes)
    found = queue.progress("a")
    assert found.status == "Failed"
    assert found.reason == "InternalServerError: the process of the job ended without a result: ImportError: torch"
    assert (queue.folder("a").path / "process.log").read_text() == "Traceback\nImportError: torch\n"
    row = table.get(KIND, "a")
    assert row is not None
    assert row.status == "Failed"


def test_a_process_that_was_never_started_is_started(table: ResourceTable, queue: JobQueue, tmp_path: Path) -> None:
    """The service was killed between its note and the start."""
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    note = {"process": process_name(KIND, "a"), "state": {}}
    table.change(KIND, "a", lambda row: replace(row, document=note))
    queue._round(processes)
    assert running(processes) == ["a"]


def test_a_job_that_is_stopped_before_its_turn_never_starts(
    table: ResourceTable, queue: JobQueue, tmp_path: Path
) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue.stop("a")
    queue._round(processes)
    assert running(processes) == []
    assert queue.progress("a").status == "Stopped"


def test_a_stop_is_said_before_the_process_can_see_it(
    table: ResourceTable, queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue._round(processes)
    append, seen = JobFiles.append, list[tuple[str, bool]]()

    def noted(folder: JobFiles, kind: str, **values: str) -> None:
        seen.append((kind, folder.stop_file.exists()))
        append(folder, kind, **values)

    monkeypatch.setattr(JobFiles, "append", noted)
    queue.stop("a", "It is weak")
    assert seen == [("status", False)]
    assert queue.folder("a").stop_file.exists()
    queue.folder("a").append("finished", status="Stopped")
    assert [step.message for step in queue.progress("a").transitions] == ["It is weak", "Training job stopped"]


def test_a_stop_is_carried_on_after_a_kill_of_the_service(
    table: ResourceTable, queue: JobQueue, tmp_path: Path
) -> None:
    """It was killed after it had said that the jobs are to stop, and before it had asked the process or ended them."""
    processes = NotedJobs(tmp_path)
    for name in ("a", "b", "waits"):
        add(table, queue, name)
    queue._round(processes)
    for name in ("a", "waits"):
        queue.folder(name).append("status", secondary="Stopping", message="")
    queue.refresh()
    queue._round(processes)
    assert [queue.folder(name).stop_file.exists() for name in ("a", "b")] == [True, False]
    assert [queue.progress(name).status for name in ("a", "waits")] == ["Stopping", "Stopped"]
    assert running(processes) == ["a", "b"]


def test_folders_that_a_killed_process_has_left_are_removed(
    table: ResourceTable, queue: JobQueue, tmp_path: Path
) -> None:
    processes = NotedJobs(tmp_path)
    add(table, queue, "a")
    queue._round(processes)
    processes.log(process_name(KIND, "a")).touch()
    (scratch := queue.folder("a").path / "work" / "mounts" / "scratch-1" / "work").mkdir(parents=True)
    scratch.chmod(0)  # as the kernel leaves it
    (queue.folder("a").path / "model").mkdir()
    queue._round(processes)
    assert scratch.parent.exists(), "it runs"
    processes.end("a", JobStatus.FAILED, "it was ended by SIGKILL")
    queue._round(processes)
    left = {path.name for path in queue.folder("a").path.iterdir()}
    assert left == {"request.json", "service.json", "events.jsonl", "process.log"}
    assert processes.removed == [process_name(KIND, "a")]


def test_names_of_processes_differ() -> None:
    names = {process_name(kind, "a" * 62 + end) for kind in (KIND, "transform-job") for end in "bc"}
    assert len(names) == 4
    assert max(map(len, names)) <= 63
