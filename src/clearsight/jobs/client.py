"""Jobs: what commands ask of the supervisor of a home, which is started when it is needed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clearsight.core.errors import ClearsightError, NotFound
from clearsight.core.machine import process_ended
from clearsight.jobs.job import Job, JobSpec, JobStatus
from clearsight.jobs.log_file import last_words
from clearsight.jobs.store import JobStore
from clearsight.jobs.supervisor import log_path

_START_SECONDS = 20.0  # that a supervisor may take to begin
_POLL_SECONDS = 0.05

_starting = threading.Lock()  # threads of this process start one supervisor
# That this process has started. They outlive it; where it outlives them, asking for their end keeps no zombies.
_supervisors: list[subprocess.Popen[bytes]] = []


class Jobs:
    """Jobs of a home. A home is a folder of one user; jobs of two homes know nothing of each other."""

    def __init__(self, home: Path) -> None:
        self.home, self._store = home, JobStore(home)

    def close(self) -> None:
        """Close the table; jobs go on."""
        self._store.close()

    def start(self, spec: JobSpec) -> int:
        """Start a job, or start it anew with another spec; return its generation. Raises ClearsightError."""
        generation = self._store.put(spec)
        self._ensure_supervisor()
        return generation

    def wait(self, name: str, generation: int, seconds: float) -> Job:
        """Return the job once it runs, has ended, or the seconds are over. Raises NotFound where it was removed."""
        end = time.monotonic() + seconds
        while True:
            job = self.get(name)
            current = job.state.generation >= generation
            reached = current and (job.state.status.ended or job.state.status is JobStatus.RUNNING)
            if reached or time.monotonic() > end:
                return job
            self._ensure_supervisor()  # it may have ended in the very moment in which the job was added
            time.sleep(_POLL_SECONDS)

    def stop(self, name: str) -> None:
        """End a job and wait until its process is over; its state stays. Raises NotFound."""
        job = self.get(name)
        self._store.set_target(name, "stopped")
        if not job.state.status.ended:
            self._ensure_supervisor()
            self._until(lambda: self.get(name).state.status.ended, job)

    def remove(self, name: str) -> None:
        """End a job and forget it; wait until nothing of it is left. Raises NotFound."""
        job = self.get(name)
        self._store.set_target(name, "removed")
        self._ensure_supervisor()
        self._until(lambda: self._store.job(name) is None, job)

    def get(self, name: str) -> Job:
        """Return a job; raises NotFound with the nearest name."""
        job = self._store.job(name)
        if job is None:
            names = [other.spec.name for other in self._store.jobs()]
            raise NotFound(name, "there is no job of this name", got=name, allowed=names)
        return job

    def all(self) -> list[Job]:
        """Return all jobs. Their states are those of now: a supervisor that is missing is started first."""
        jobs = self._store.jobs()
        if any(not job.state.status.ended for job in jobs) and process_ended(self._store.supervisor):
            self._ensure_supervisor()
            jobs = self._store.jobs()
        return jobs

    def log(self, name: str) -> Path:
        """Return the path of a job's log; raises NotFound."""
        return log_path(self.home, self.get(name).spec.name)

    def _until(self, done: Callable[[], bool], job: Job) -> None:
        end = time.monotonic() + job.spec.stop_seconds + _START_SECONDS
        while not done():
            if time.monotonic() > end:
                problem = f"its process did not end within {job.spec.stop_seconds + _START_SECONDS:g} s"
                raise ClearsightError(f"job {job.spec.name}", problem, fix=f"Look into {self.home}/supervisor.log.")
            self._ensure_supervisor()
            time.sleep(_POLL_SECONDS)

    def _ensure_supervisor(self) -> None:
        """Start the supervisor if there is none; raises ClearsightError where it does not begin."""
        with _starting:
            self._start_supervisor()

    def _start_supervisor(self) -> None:
        before = dict(self._store.supervisor)
        if before and not process_ended(before):
            return
        log = self.home / "supervisor.log"
        with log.open("ab") as output:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "clearsight.jobs", str(self.home.absolute())],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _supervisors[:] = [*(other for other in _supervisors if other.poll() is None), supervisor]
        end = time.monotonic() + _START_SECONDS
        while True:
            now = self._store.supervisor
            if now and now != before and not process_ended(now):
                return
            if time.monotonic() > end:
                problem = f"it did not begin within {_START_SECONDS:g} s: {last_words(log)}"
                raise ClearsightError("the supervisor of jobs", problem)
            time.sleep(_POLL_SECONDS)


@contextmanager
def jobs_of(home: Path) -> Iterator[Jobs]:
    """Yield the jobs of a home for the duration of the block."""
    jobs = Jobs(home)
    try:
        yield jobs
    finally:
        jobs.close()
