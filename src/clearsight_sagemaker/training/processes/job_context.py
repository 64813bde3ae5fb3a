"""JobContext: the parts of a job that runs, from the lock of its folder to the limits under which its script ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from clearsight.core.folder_lock import folder_lock
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.event_log import EventLog
from clearsight_sagemaker.training.failure import Interrupted, StopRequested
from clearsight_sagemaker.training.job_folder import JobFolder, ServiceSettings
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.objects import Objects
from clearsight_sagemaker.training.processes.job_process import JobProcess
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, namespace_support
from clearsight_sagemaker.training.remote_objects import objects_of

STOP_SECONDS = 120.0  # between SIGTERM and SIGKILL
_POLL_SECONDS = 0.1


class RunEnd(StrEnum):
    """End of a script that did not fail."""

    COMPLETED = "Completed"
    STOPPED = "Stopped"
    MAX_RUNTIME = "MaxRuntimeExceeded"
    MAX_WAIT = "MaxWaitTimeExceeded"


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLimits:
    """Times at which a job is ended, on the monotonic clock; None for no limit."""

    runtime: float | None
    wait: float | None = None

    def exceeded(self) -> RunEnd | None:
        """Return the limit that is exceeded."""
        now = time.monotonic()
        if self.runtime is not None and now > self.runtime:
            return RunEnd.MAX_RUNTIME
        return RunEnd.MAX_WAIT if self.wait is not None and now > self.wait else None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobContext:
    """Parts of a job that all its attempts share. stop_seconds: between SIGTERM and SIGKILL."""

    folder: JobFolder
    request: Mapping[str, Any]
    service: ServiceSettings
    user: UserEnvironment
    support: NamespaceSupport
    objects: Objects
    events: EventLog
    log: JobLog
    stop_seconds: float

    @property
    def ml(self) -> str:
        """Return the path of /opt/ml as the job sees it."""
        return self.support.ml or str(self.folder.ml)

    def check_stop(self) -> None:
        """Raise StopRequested where the user has asked for it."""
        if self.folder.stop.exists():
            raise StopRequested

    def watch(
        self, process: JobProcess, limits: TimeLimits, kind: str, each_round: Callable[[], None] = lambda: None
    ) -> RunEnd | Interrupted | None:
        """Wait for the end of a script, or end it; return why it was ended, None where it ended itself.

        kind: of the job, "training job".  each_round: called several times a second.
        """
        reason: RunEnd | Interrupted | None = None
        while not process.wait(_POLL_SECONDS):
            each_round()
            if self.folder.stop.exists():
                reason = RunEnd.STOPPED
                self.events.status("Stopping", f"Stopping the {kind}")
            elif self.folder.interrupt.exists():
                self.folder.interrupt.unlink()
                reason = Interrupted("the instance was interrupted")
            else:
                reason = limits.exceeded()
            if reason is not None:
                process.terminate()
                if not process.wait(self.stop_seconds):
                    seconds = f"{self.stop_seconds:g} s"
                    self.log.write(f"The script did not end within {seconds} after SIGTERM; it is killed.")
                    process.kill()
                break
        return reason


@contextmanager
def job_context(
    path: Path, user: UserEnvironment, *, stop_seconds: float, support: NamespaceSupport | None = None
) -> Iterator[JobContext]:
    """Yield the parts of the job of a folder, under its lock.

    support: how jobs see /opt/ml, found out where it is None. Raises ClearsightError where the folder holds no job, or
    another process runs it.
    """
    folder = JobFolder(path)
    request, service = folder.read_request(), folder.read_service()
    with ExitStack() as stack:
        stack.enter_context(folder_lock(path / "job.lock", "job"))
        events = stack.enter_context(closing(EventLog(folder.events)))
        yield JobContext(
            folder=folder,
            request=request,
            service=service,
            user=user,
            support=support or namespace_support(folder.work),
            objects=stack.enter_context(closing(objects_of(service, folder))),
            events=events,
            log=stack.enter_context(closing(JobLog(folder.log))),
            stop_seconds=stop_seconds,
        )
