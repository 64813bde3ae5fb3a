"""JobSequence: a job from its first to its last event, with its restarts and its results."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.core.files import disk_full_as_error
from clearsight.core.format import several
from clearsight.core.machine import cores, versions
from clearsight_sagemaker.rules.job_rules import JobRules
from clearsight_sagemaker.training.artifacts import upload_model, upload_output
from clearsight_sagemaker.training.attempt import JobAttempt
from clearsight_sagemaker.training.container_files import instance_type
from clearsight_sagemaker.training.environment import UserEnvironment, gpus
from clearsight_sagemaker.training.failure import (
    Interrupted,
    JobFailed,
    StopRequested,
    errors_as_failure,
    internal_error,
)
from clearsight_sagemaker.training.objects import STORE_ERRORS, join_uri
from clearsight_sagemaker.training.processes.job_context import (
    STOP_SECONDS,
    JobContext,
    RunEnd,
    TimeLimits,
    job_context,
)
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, remove_work

_MOST_RESTARTS = 30  # of a spot job whose request sets no other limit
_MESSAGES = {
    RunEnd.COMPLETED: "Training job completed",
    RunEnd.STOPPED: "Training job stopped",
    RunEnd.MAX_RUNTIME: "Training job runtime exceeded MaxRuntimeInSeconds provided",
    RunEnd.MAX_WAIT: "Training job waited longer than MaxWaitTimeInSeconds provided",
}


def run_job(
    path: Path, user: UserEnvironment, *, stop_seconds: float = STOP_SECONDS, support: NamespaceSupport | None = None
) -> str:
    """Run the job of a folder to its end and return its status: Completed, Failed or Stopped.

    Called in the main thread: with its end the kernel ends the job. A job that was cut short is continued; for one
    that has ended, nothing is done. stop_seconds: between SIGTERM and SIGKILL.  support: how jobs see /opt/ml, found
    out where it is None. Raises ClearsightError where the folder holds no job, or another process runs it.
    """
    with job_context(path, user, stop_seconds=stop_seconds, support=support) as context:
        ended = [event["status"] for event in context.events.previous if event["kind"] == "finished"]
        return str(ended[-1]) if ended else JobSequence(context).run()


class JobSequence:
    """A job with its events. `run` returns when the last one is written."""

    def __init__(self, context: JobContext) -> None:
        self._context, self._events = context, context.events
        self._rules = JobRules(context.folder, context.request, context.events, context.log)
        self._is_stopped = False  # by the user
        self._restarts = sum(event.get("secondary") == "Restarting" for event in context.events.previous)
        self._seconds = training_seconds(context.events.previous)  # of earlier attempts
        starts = [event["time"] for event in context.events.previous[:1]]
        self._first = time.monotonic() - (time.time() - starts[0] if starts else 0.0)

    def run(self) -> str:
        """Run the job to its end and return its status."""
        try:
            with errors_as_failure(self._context.folder.path):
                status = self._finish(self._attempts())
        except StopRequested:
            self._events.status("Stopping", "Stopping the training job")
            status = self._finish(RunEnd.STOPPED, uploads=False)
        except JobFailed as failure:
            status = self._fail(failure)
        self._rules.finish()
        if self._context.log.lost:
            self._context.log.write(f"{self._context.log.lost} lines are missing: the disk was full.")
        self._events.append("finished", status=status)
        # As in SageMaker, where verdicts come after the end of training.
        self._rules.report(is_stopped=self._is_stopped)
        remove_work(self._context.folder.work)
        return status

    def _attempts(self) -> RunEnd:
        """Run attempts until one of them comes to its end. Raises JobFailed."""
        previous = self._events.previous
        if any(event.get("secondary") in ("Downloading", "Training") for event in previous):
            self._restart(Interrupted("the process that ran the job ended before the job"))
        elif not previous:
            self._events.status("Starting", "Starting the training job")
        self._context.check_stop()
        for sentence in self._introduction():
            self._context.log.write(sentence)
        while True:
            attempt = JobAttempt.of(self._context)
            self._events.status("Downloading", "Downloading input data")
            attempt.prepare()
            self._events.status("Training", "Training image download completed. Training in progress.")
            start = time.monotonic()
            self._rules.start(self._context.support, attempt.variables, self._context.user.variables)
            try:
                return attempt.run(self._limits(), self._rules.update)
            except Interrupted as error:
                self._rules.stop()
                self._seconds += time.monotonic() - start
                self._restart(error)

    def _restart(self, error: Interrupted) -> None:
        """Note an interruption. Raises JobFailed where the job may not be started again."""
        request = self._context.request
        most = int((request.get("RetryStrategy") or {}).get("MaximumRetryAttempts") or 0)
        if request.get("EnableManagedSpotTraining"):
            most = most or _MOST_RESTARTS
        if self._restarts >= most:
            raise internal_error(f"{error}.")
        self._restarts += 1
        self._events.status("Interrupted", f"Training job interrupted: {error}")
        self._events.status("Restarting", f"Restarting the training job (restart {self._restarts} of at most {most})")

    def _limits(self) -> TimeLimits:
        condition = self._context.request.get("StoppingCondition") or {}
        runtime, wait = condition.get("MaxRuntimeInSeconds"), condition.get("MaxWaitTimeInSeconds")
        return TimeLimits(
            runtime=time.monotonic() + runtime - self._seconds if runtime else None,
            wait=self._first + wait if wait else None,
        )

    def _finish(self, end: RunEnd, *, uploads: bool = True) -> str:
        """Upload the results, write the last events of a job that did not fail, and return its status."""
        context, self._is_stopped = self._context, end is RunEnd.STOPPED
        if uploads:
            self._events.status("Uploading", "Uploading generated training model")
            self._write_end_marker()
            arguments = (context.folder, context.request, context.objects, context.log.write)
            artifacts = {"model": upload_model(*arguments), "output": upload_output(*arguments)}
            self._events.append("artifacts", **{name: uri for name, uri in artifacts.items() if uri})
        self._events.status(end.value, _MESSAGES[end])
        return "Completed" if end is RunEnd.COMPLETED else "Stopped"

    def _fail(self, failure: JobFailed) -> str:
        """Upload what a failed job leaves behind, write its last events, and return its status."""
        context = self._context
        try:
            with disk_full_as_error(context.folder.path):
                uri = upload_output(context.folder, context.request, context.objects, context.log.write)
                self._write_end_marker()
                if uri:
                    self._events.append("artifacts", output=uri)
        except (ClearsightError, JobFailed, *STORE_ERRORS) as error:
            context.log.write(f"The output of the failed job is not uploaded: {error}")
        context.log.write(failure.reason)
        self._events.append("failed", reason=failure.reason, exit_code=failure.exit_code)
        self._events.status("Failed", failure.reason)
        return "Failed"

    def _write_end_marker(self) -> None:
        """Write the file by which readers of debug-output know that no more comes."""
        hook = self._context.request.get("DebugHookConfig") or {}
        if hook.get("S3OutputPath"):
            job = self._context.request["TrainingJobName"]
            with self._context.objects.writing(
                join_uri(hook["S3OutputPath"], job, "debug-output", "training_job_end.ts")
            ) as file:
                file.write(f"{time.time():.3f}\n".encode())

    def _introduction(self) -> list[str]:
        """Return sentences about what really runs, for the job's log."""
        request, context = self._context.request, self._context
        image = request["AlgorithmSpecification"].get("TrainingImage") or "no image"
        packages = ", ".join(
            f"{name} {version}" for name, version in versions(("torch", "torchvision", "numpy")).items()
        )
        machine = (
            f"{instance_type(request)} stands for this machine: {several(cores(), 'core')}, {several(gpus(), 'GPU')}."
        )
        sentences = [
            context.support.sentence,
            f"The request names {image}; this job runs on {packages} of this machine.",
            machine,
        ]
        if int((request.get("ResourceConfig") or {}).get("InstanceCount") or 1) > 1:
            sentences.append(
                "InstanceCount is more than 1: this machine is one instance, and the job runs on it alone."
            )
        if request["AlgorithmSpecification"].get("ContainerEntrypoint") and shutil.which("bash") is None:
            sentences.append("There is no bash on this machine: container commands that need it fail.")
        return sentences


def training_seconds(events: Sequence[Mapping[str, Any]]) -> float:
    """Return how long the scripts of a job have run, from its events."""
    seconds, start = 0.0, None
    for event in events:
        if start is not None:
            seconds += event["time"] - start
            start = event["time"]
        if event["kind"] == "status":
            start = event["time"] if event["secondary"] == "Training" else None
    return seconds
