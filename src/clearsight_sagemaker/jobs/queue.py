"""JobQueue: starts jobs in the order in which they were created, follows their events, and notices processes that died.

Each job runs in a process of the supervisor of `clearsight.jobs`, so that neither the end nor a kill of the service
ends a job. The table has the last known state of each job; the events in its folder are the truth.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.files import write_text
from clearsight.jobs.client import Jobs, jobs_of
from clearsight.jobs.job import Job, JobSpec
from clearsight.jobs.log_file import last_lines
from clearsight_sagemaker.jobs.job_files import JobFiles
from clearsight_sagemaker.jobs.progress import JobProgress
from clearsight_sagemaker.state.home import ServiceHome
from clearsight_sagemaker.state.resource_table import Resource, ResourceTable
from clearsight_sagemaker.training.job_folder import WORK_FOLDERS
from clearsight_sagemaker.training.processes.namespaces import remove_work

LOG = logging.getLogger("clearsight.sagemaker")

ACTIVE = ("InProgress", "Stopping")
_ACTIVE_SECONDS = 0.2  # between two rounds while jobs run
_IDLE_SECONDS = 5.0
_MOST_PROGRESS = 512  # jobs whose folded events stay in memory
_MOST_LINES = 500  # of what a process wrote before it ended without a result
_STOP_SECONDS = 180.0  # for the process of a job to end: 120 s of grace for the script, and the upload


class JobQueue:
    """Queue of the jobs of one kind. command: of the process, to which the folder of the job is appended.

    most: jobs that run at the same time.  environment: of the processes.
    """

    def __init__(
        self,
        table: ResourceTable,
        home: ServiceHome,
        *,
        kind: str,
        command: Sequence[str],
        most: int,
        environment: Mapping[str, str],
    ) -> None:
        self.kind, self.most = kind, most
        self._table, self._home = table, home
        self._command, self._environment = tuple(command), dict(environment)
        self._progress: OrderedDict[str, JobProgress] = OrderedDict()
        self._waiting: set[str] = set()  # names of jobs whose events say that they wait
        self._lock = threading.RLock()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"queue of {kind}", daemon=True)

    def start(self) -> None:
        """Start to follow the table."""
        self._thread.start()

    def close(self) -> None:
        """Follow no more; jobs go on."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """Do at once what is to be done."""
        self._wake.set()

    def folder(self, name: str) -> JobFiles:
        """Return the folder of a job."""
        return JobFiles(self._home.jobs / self.kind / name)

    def count_active(self) -> int:
        """Return how many jobs wait or run."""
        return self._table.count(self.kind, *ACTIVE)

    # What has happened

    def progress(self, name: str) -> JobProgress:
        """Return what a job's events say now."""
        with self._lock:
            progress = self._progress.setdefault(name, JobProgress())
            self._progress.move_to_end(name)
            while len(self._progress) > _MOST_PROGRESS:
                self._progress.popitem(last=False)
            progress.update(self.folder(name))
            return progress.copied()

    def refresh(self) -> None:
        """Bring the table up to date with the events of all jobs that have not ended."""
        for resource in self._table.every(self.kind, *ACTIVE):
            self.record(resource)

    def record(self, resource: Resource) -> Resource:
        """Bring the row of a job up to date with its events, and return it."""
        with self._lock:
            progress = self.progress(resource.name)
            state = {"secondary": progress.secondary, "started": progress.started, "ended": progress.finished}
            modified = max(resource.modified, progress.modified)
            if (progress.status, modified) == (resource.status, resource.modified):
                return resource

            def changed(row: Resource) -> Resource:
                document = {**row.document, "state": state}
                return replace(row, status=progress.status, document=document, modified=modified)

            return self._table.change(self.kind, resource.name, changed) or resource

    def stop(self, name: str, message: str = "") -> None:
        """Ask a job to stop; one that waits for its turn ends at once. message: of its status, "" for the usual one."""
        with self._lock:
            folder, resource = self.folder(name), self._table.get(self.kind, name)
            text = message or f"Stopping the {self.kind.replace('-', ' ')}"
            # Before the file: the process may end as soon as it sees that, and nothing is said about a job after its
            # end. After a kill in between, the next round makes the file.
            folder.append("status", secondary="Stopping", message=text)
            if resource is not None:
                self._carry_on_stop(self.record(resource))
        self.wake()

    def _carry_on_stop(self, resource: Resource) -> None:
        """Ask the process of a job that is to stop, or end the job where it has none."""
        if resource.status != "Stopping":
            return
        folder = self.folder(resource.name)
        if resource.document.get("process"):
            if not folder.stop_file.exists():
                folder.stop_file.touch()
        else:
            folder.append("finished", status="Stopped")
            self.record(resource)

    def forget(self, name: str) -> None:
        """Remove a job that has ended, with its folder."""
        with self._lock:
            self._table.remove(self.kind, name)
            self._progress.pop(name, None)
            self._remove_folder(self.folder(name).path)

    def _remove_folder(self, folder: Path) -> None:
        try:
            remove_work(folder)
        except OSError as error:
            LOG.error("%s", error)

    # The thread

    def _run(self) -> None:
        with jobs_of(self._home.processes) as processes:  # its connection is for this thread alone
            is_first = True
            while not self._stopped.is_set():
                self._wake.clear()
                try:
                    if is_first:  # a service that was killed may not have written down what it had said
                        self.refresh()
                        is_first = False
                    active = self._round(processes)
                except (ClearsightError, OSError) as error:  # a full disk, a supervisor that does not start
                    LOG.error("the queue of jobs: %s", error)
                    active = False
                self._wake.wait(_ACTIVE_SECONDS if active else _IDLE_SECONDS)

    def _round(self, processes: Jobs) -> bool:
        """Do what is to be done; return True while there are jobs that wait, run, or have just ended."""
        # All and not one by one: this starts a supervisor again that was killed.
        jobs = {job.spec.name: job for job in processes.all() if job.spec.name.startswith(_prefix(self.kind))}
        # Of the supervisor and not of the table: a job that has finished may still write its last files.
        room = self.most - sum(not _has_ended(job) for job in jobs.values())
        waiting: list[Resource] = []
        for resource in self._table.every(self.kind, *ACTIVE):
            name = resource.document.get("process")
            if not name:
                if resource.status == "Stopping":  # the service was killed before it had ended the job
                    with self._lock:
                        self._carry_on_stop(resource)
                else:
                    waiting.append(resource)
            elif name in jobs:
                self._follow(resource, jobs[name], processes)
            else:  # the service was killed before it could start the process
                self._begin(resource, processes)
                room -= 1
        ended = [name for name, job in jobs.items() if _has_ended(job)]
        if ended:  # before the next starts, which may have the name of a job that was deleted
            # Before the process is forgotten: after a kill of the service the next one finds what is left.
            self._remove_left_over(jobs[ended[0]].spec.folder)
            processes.remove(ended[0])  # one in a round: the supervisor takes a moment for each
        room = max(0, room)
        for resource in waiting[:room]:
            self._begin(resource, processes)
        for resource in waiting[room:]:
            self._note_waiting(resource.name)
        return bool(jobs or waiting)

    def _remove_left_over(self, folder: Path) -> None:
        """Remove what a process that was killed has left of the folders that it needs only while it runs."""
        for name in WORK_FOLDERS:
            self._remove_folder(folder / name)

    def _note_waiting(self, name: str) -> None:
        """Let the description of a job say, once, that it waits for others."""
        if name not in self._waiting:
            self._waiting.add(name)
            jobs = "1 job runs" if self.most == 1 else f"{self.most} jobs run"
            message = f"Waiting for other jobs: at most {jobs} at the same time"
            self.folder(name).append("status", secondary="Starting", message=message)

    def _follow(self, resource: Resource, job: Job, processes: Jobs) -> None:
        """Bring a job with a process up to date. job: of the supervisor."""
        # After the status of the process was read: what it wrote last is in.
        current = self.record(resource)
        self._carry_on_stop(current)
        if current.status in ACTIVE and _has_ended(job):
            self._fail(resource, job, processes)

    def _fail(self, resource: Resource, job: Job, processes: Jobs) -> None:
        """Record the end of a job whose process has ended without one."""
        cause = job.state.reason or f"exit code {job.state.exit_code}"
        folder = self.folder(resource.name)
        # The supervisor removes its own file together with the process.
        write_text(folder.path / "process.log", "\n".join(last_lines(processes.log(job.spec.name), _MOST_LINES)) + "\n")
        reason = f"InternalServerError: the process of the job ended without a result: {cause}"
        folder.append("failed", reason=reason, exit_code=job.state.exit_code)
        folder.append("finished", status="Failed")
        self.record(resource)

    def _begin(self, resource: Resource, processes: Jobs) -> None:
        """Start the process of a job, unless it was stopped a moment ago."""
        process = process_name(self.kind, resource.name)
        with self._lock:
            current = self._table.get(self.kind, resource.name)
            if current is None or current.status not in ACTIVE:
                return
            self._waiting.discard(resource.name)
            # Written before the start: from now on `stop` leaves the end of the job to its process.
            self._table.change(
                self.kind, resource.name, lambda row: replace(row, document={**row.document, "process": process})
            )
            processes.start(self._spec(process, self.folder(resource.name).path))

    def _spec(self, process: str, folder: Path) -> JobSpec:
        return JobSpec(
            name=process,
            command=(*self._command, str(folder)),
            folder=folder,
            environment=self._environment,
            stop_seconds=_STOP_SECONDS,
        )


def process_name(kind: str, name: str) -> str:
    """Return the name of a job's process, which is of at most 63 characters and differs between kinds."""
    digest = hashlib.sha256(f"{kind}/{name}".encode()).hexdigest()[:8]
    return f"{_prefix(kind)}{name[:40].rstrip('-')}-{digest}"


def _has_ended(job: Job) -> bool:
    """Return True for a process that has ended; the state may still be that of an earlier one of the same name."""
    return job.state.status.ended and job.state.generation >= job.generation


def _prefix(kind: str) -> str:
    return f"{kind.removesuffix('-job')}-"
