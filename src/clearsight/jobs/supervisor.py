"""Supervisor: keeps the processes of the jobs of a home as the store wants them. `python -m clearsight.jobs HOME`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import NotResumable
from clearsight.core.folder_lock import folder_lock
from clearsight.core.machine import process_ended, process_identity
from clearsight.jobs import process
from clearsight.jobs.health import HealthMonitor
from clearsight.jobs.job import Job, JobState, JobStatus
from clearsight.jobs.listener import listening_socket
from clearsight.jobs.log_file import last_words, rotate
from clearsight.jobs.store import JobStore

LOG = logging.getLogger("clearsight.jobs")

_POLL_SECONDS = 0.1  # between two looks at what is target
_IDLE_SECONDS = 10.0  # without any job: then the supervisor ends
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0  # seconds before a restart, doubled each time
_STABLE_SECONDS = 60.0  # of health, after which the next failure counts as the first
_LOG_SECONDS = 5.0  # between two looks at the size of a log


def log_path(home: Path, name: str) -> Path:
    """Return the log of a job."""
    return home / "logs" / f"{name}.log"


def supervise(home: Path) -> None:
    """Supervise until there are no jobs any more or SIGTERM comes; jobs go on without a supervisor after that.

    Where the home is removed, the jobs end with it: nobody could find them any more.

    Returns at once where another process supervises this home.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(NotResumable), folder_lock(home / "supervisor.lock", "home"):
        asyncio.run(Supervisor(home).run())


class Supervisor:
    """One task for each job. Only tasks write states, so that each has one writer."""

    def __init__(self, home: Path) -> None:
        self._home, self._store = home, JobStore(home)
        self._jobs: dict[str, tuple[JobTask, asyncio.Task[None]]] = {}
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Follow the store."""
        self._store.supervisor = process_identity()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        try:
            await self._follow()
        finally:
            for _, task in self._jobs.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._jobs.values()), return_exceptions=True)
            self._store.close()

    async def _follow(self) -> None:
        version, idle_since = -1, asyncio.get_running_loop().time()
        while not self._stopped.is_set():
            if process.is_removed(self._home):
                await self._kill_all()
                return
            if (now := self._store.version) != version or any(task.done() for _, task in self._jobs.values()):
                version = now
                self._compare()
            clock = asyncio.get_running_loop().time()
            if not all(job_task.idle for job_task, _ in self._jobs.values()):
                idle_since = clock
            if clock - idle_since > _IDLE_SECONDS:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _POLL_SECONDS)

    async def _kill_all(self) -> None:
        """Kill all jobs: what they work for is gone."""
        LOG.warning("%s was removed; its jobs are ended", self._home)
        for job_task, task in self._jobs.values():
            task.cancel()
            job_task.kill()
        await asyncio.gather(*(task for _, task in self._jobs.values()), return_exceptions=True)

    def _compare(self) -> None:
        """Tell the tasks what is target now; begin those that are missing."""
        for name, (_, task) in [*self._jobs.items()]:
            if task.done():
                if task.exception() is not None:
                    LOG.error("the task of job %s failed", name, exc_info=task.exception())
                del self._jobs[name]
        for job in self._store.jobs():
            if job.spec.name in self._jobs:
                self._jobs[job.spec.name][0].set_job(job)
            else:
                job_task = JobTask(job, self._store, log_path(self._home, job.spec.name))
                self._jobs[job.spec.name] = (job_task, asyncio.create_task(job_task.run()))


class JobTask:
    """Follows one job from its start, or from where an earlier supervisor left it, until it is removed."""

    def __init__(self, job: Job, store: JobStore, log: Path) -> None:
        self._job, self._store, self._log = job, store, log
        self._state = job.state
        self._changed = asyncio.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None  # stays open while the process is started again

    def set_job(self, job: Job) -> None:
        """Take what the user wants now."""
        if (job.target, job.generation) != (self._job.target, self._job.generation):
            self._job = job
            self._changed.set()

    async def run(self) -> None:
        """Keep the job as it is target."""
        self._recover()
        while self._job.target != "removed":
            self._changed.clear()
            if self._state.generation != self._job.generation:  # another spec: what runs is of the one before
                await self._end_process()
                self._set(JobState(generation=self._job.generation))
            if self._state.status.ended:
                await self._changed.wait()
            elif self._job.target == "running":
                await self._keep_running()
            else:
                await self._end_process()
                self._set(self._state.changed(JobStatus.STOPPED))
        await self._end_process()
        for path in self._log.parent.glob(f"{self._log.name}*"):
            path.unlink(missing_ok=True)
        self._store.remove(self._job.spec.name)

    @property
    def idle(self) -> bool:
        """True if nothing is to be done until the user wants something else."""
        return self._state.status.ended and not self._changed.is_set()

    def kill(self) -> None:
        """Kill the process, if any; the store is not told, which is gone."""
        if self._state.process and not process_ended(self._state.process):
            process.kill_group(self._state.process)

    # What an earlier supervisor has left

    def _recover(self) -> None:
        state = self._state
        if state.token and not state.process:  # it was killed between the start and the note of the PID
            pid = process.find(state.token)
            self._set(state.changed(process=process_identity(pid) if pid is not None else {}))

    # A running job

    async def _keep_running(self) -> None:
        """Run the process until it ends, it is unhealthy, or something else is target."""
        if not self._state.process and not await self._start():
            return
        identity = self._state.process
        over = asyncio.ensure_future(process.ended(identity))
        sick = asyncio.ensure_future(self._watch_health())
        changed = asyncio.ensure_future(self._changed.wait())
        logs = asyncio.ensure_future(self._rotate_logs())
        tasks = (over, sick, changed, logs)
        try:
            await asyncio.wait({over, sick, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if over.done() and not over.cancelled():
            await self._after_end(self._end_of(identity))
        elif sick.done() and not sick.cancelled():
            reason = sick.result()
            await process.stop(identity, self._job.spec.stop_seconds)
            await self._after_end((self._collect(), reason))

    async def _start(self) -> bool:
        """Start the process; return False where it cannot be started."""
        spec, token = self._job.spec, secrets.token_hex(16)
        self._listen()
        # Written before the start: whoever finds the token without a PID knows what to look for.
        starting = self._state.changed(JobStatus.STARTING, token=token, process={}, starts=self._state.starts + 1)
        self._set(starting)
        try:
            self._child = process.start(spec, token, self._log, self._listener)
        except OSError as error:
            reason = f"{spec.command[0]} cannot be started: {error.strerror or error}"
            self._set(self._state.changed(JobStatus.FAILED, token="", reason=reason))
            return False
        status = JobStatus.STARTING if spec.health else JobStatus.RUNNING
        self._set(self._state.changed(status, process=process_identity(self._child.pid)))
        return True

    def _listen(self) -> None:
        """Listen for the job. Where the address is taken, its process will say so."""
        if self._job.spec.listen and self._listener is None:
            with contextlib.suppress(OSError):
                self._listener = listening_socket(*self._job.spec.listen)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _watch_health(self) -> str:
        """Return why the process is unhealthy; wait for ever where it is healthy or nobody can tell."""
        check = self._job.spec.health
        if check is None:
            await asyncio.Event().wait()
            raise AssertionError("an event that nobody sets")
        monitor = HealthMonitor(check)
        if self._state.status is not JobStatus.RUNNING:
            if problem := await monitor.first():
                return problem
            self._set(self._state.changed(JobStatus.RUNNING, was_healthy=True, reason=""))
        return await monitor.failure()

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(_LOG_SECONDS)
            rotate(self._log, self._job.spec.log_bytes)

    def _end_of(self, identity: Mapping[str, Any]) -> tuple[int | None, str]:
        """Return the exit code of a process that is over, and a sentence about its end."""
        process.kill_group(identity)
        code = self._collect()
        words = last_words(self._log)
        if code is None:
            return None, "it ended while no supervisor watched it" + (f"; its last line: {words}" if words else "")
        if code < 0:
            name = signal.Signals(-code).name if -code in [*signal.Signals] else str(-code)
            return code, f"it was ended by {name}"
        return code, (words or f"exit code {code}") if code else ""

    def _collect(self) -> int | None:
        """Return the exit code of the child; None for a process of an earlier supervisor."""
        child, self._child = self._child, None
        return child.wait() if child is not None else None

    async def _after_end(self, end: tuple[int | None, str]) -> None:
        """Decide what follows the end of the process."""
        (code, reason), state, spec = end, self._state, self._job.spec
        done = state.changed(process={}, token="", exit_code=code, reason=reason)
        restart = spec.restart == "always" or (spec.restart == "on-failure" and code != 0)
        if code == 0 and not reason and not restart:
            self._set(done.changed(JobStatus.COMPLETED))
        elif not restart or (not state.was_healthy and spec.health is not None):
            self._set(done.changed(JobStatus.FAILED))
        else:
            stable = state.status is JobStatus.RUNNING and time.time() - state.since > _STABLE_SECONDS
            starts = 1 if stable else state.starts
            self._set(done.changed(JobStatus.WAITING, starts=starts))
            delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(starts - 1, 10))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), delay)

    async def _end_process(self) -> None:
        """End the process, if any; nobody is to wait for another one."""
        self._close_listener()
        if identity := self._state.process:
            self._set(self._state.changed(JobStatus.STOPPING))
            await process.stop(identity, self._job.spec.stop_seconds)
            self._set(self._state.changed(process={}, token="", exit_code=self._collect(), reason=""))

    def _set(self, state: JobState) -> None:
        if state.status.ended:
            self._close_listener()
        self._state = state
        self._store.set_state(self._job.spec.name, state)
