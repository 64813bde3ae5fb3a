"""ProcessingSequence: a processing job from its first to its last event."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.files import disk_full_as_error
from clearsight.core.format import several
from clearsight.core.machine import cores, versions
from clearsight_sagemaker.processing.folders import (
    ProcessingOutputs,
    instance_of,
    output_folders,
    processing_inputs,
    write_configuration,
)
from clearsight_sagemaker.processing.image_explanations import explain_images
from clearsight_sagemaker.training.channels import Downloader
from clearsight_sagemaker.training.container_files import HOST
from clearsight_sagemaker.training.environment import (
    UserEnvironment,
    account_variables,
    device_variables,
    gpus,
    python_variables,
)
from clearsight_sagemaker.training.failure import (
    Interrupted,
    JobFailed,
    StopRequested,
    client_error,
    container_error,
    error_text,
    errors_as_failure,
    internal_error,
)
from clearsight_sagemaker.training.folder_sync import SyncThread
from clearsight_sagemaker.training.job_python import PipSettings, create_python
from clearsight_sagemaker.training.objects import STORE_ERRORS
from clearsight_sagemaker.training.processes.job_context import (
    STOP_SECONDS,
    JobContext,
    RunEnd,
    TimeLimits,
    job_context,
)
from clearsight_sagemaker.training.processes.job_process import JobProcess, Launch, Outcome
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, ml_link, remove_work

_MOST_MESSAGE = 1024  # characters of an ExitMessage
_MESSAGES = {
    RunEnd.COMPLETED: "Processing job completed",
    RunEnd.STOPPED: "Processing job stopped",
    RunEnd.MAX_RUNTIME: "Processing job runtime exceeded MaxRuntimeInSeconds provided",
}


def run_processing_job(
    path: Path, user: UserEnvironment, *, stop_seconds: float = STOP_SECONDS, support: NamespaceSupport | None = None
) -> str:
    """Run the job of a folder to its end and return its status: Completed, Failed or Stopped.

    Called in the main thread: with its end the kernel ends the job. For a job that has ended, nothing is done; one that
    was cut short fails. stop_seconds: between SIGTERM and SIGKILL.  support: how jobs see /opt/ml, found out where it
    is None. Raises ClearsightError where the folder holds no job, or another process runs it.
    """
    with job_context(path, user, stop_seconds=stop_seconds, support=support) as context:
        ended = [event["status"] for event in context.events.previous if event["kind"] == "finished"]
        return str(ended[-1]) if ended else ProcessingSequence(context).run()


class ProcessingSequence:
    """A processing job with its events. `run` returns when the last one is written."""

    def __init__(self, context: JobContext) -> None:
        self._context, self._events, self._request = context, context.events, context.request
        self._outputs: list[ProcessingOutputs] = []

    def run(self) -> str:
        """Run the job to its end and return its status."""
        try:
            with errors_as_failure(self._context.folder.path):
                self._prepare()
                end = self._process()
                self._upload()
            self._events.status(end.value, _MESSAGES[end])
            status = "Completed" if end is RunEnd.COMPLETED else "Stopped"
        except StopRequested:
            self._events.status("Stopping", "Stopping the processing job")
            self._events.status("Stopped", _MESSAGES[RunEnd.STOPPED])
            status = "Stopped"
        except JobFailed as failure:
            status = self._fail(failure)
        if self._context.log.lost:
            self._context.log.write(f"{self._context.log.lost} lines are missing: the disk was full.")
        self._events.append("finished", status=status)
        remove_work(self._context.folder.work)
        return status

    def _prepare(self) -> None:
        """Make the folders of the job and download its inputs. Raises JobFailed, StopRequested."""
        context, folder = self._context, self._context.folder
        if any(event.get("secondary") in ("Downloading", "Processing") for event in self._events.previous):
            raise internal_error("the process that ran the job ended before the job.")
        context.check_stop()
        if self._is_isolated and not context.support.no_network:
            raise client_error(f"EnableNetworkIsolation is not possible on this machine: {context.support.reason}.")
        self._introduce()
        self._events.status("Downloading", "Downloading input data")
        remove_work(folder.work)
        for path in (folder.home, folder.mounts, folder.ml / "processing", folder.ml / "output"):
            path.mkdir(parents=True)
        write_configuration(folder, self._request, self._arn)
        self._outputs = output_folders(self._request, folder, context.objects)
        for output in self._outputs:
            context.objects.check_bucket(output.uri)
            output.path.mkdir(parents=True, exist_ok=True)
        # Copies: links would let the job change the objects, because it sees these folders without an overlay.
        downloader = Downloader(objects=context.objects, links=False, check=context.check_stop)
        for channel, local_path in processing_inputs(self._request):
            count = downloader.download(channel, folder.inside(local_path))
            context.log.write(f"Input {channel.name}: {count} files of {channel.uri} in {local_path}.")

    def _process(self) -> RunEnd:
        """Do the work of the job. Raises JobFailed, StopRequested."""
        context, application = self._context, self._request["AppSpecification"]
        context.check_stop()
        with ExitStack() as stack:
            syncs = [output.sync for output in self._outputs if output.sync is not None]
            if syncs:
                stack.callback(SyncThread(syncs, context.log.write).stop)
            if "ContainerEntrypoint" in application:
                command = [*application["ContainerEntrypoint"], *(application.get("ContainerArguments") or ())]
                return self._run_command(command)
            return self._explain_images()

    def _run_command(self, command: list[str]) -> RunEnd:
        """Run the command of the job to its end. Raises JobFailed."""
        context, folder = self._context, self._context.folder
        variables = self._variables()
        pip = PipSettings(
            environments=context.service.home / "environments", variables=variables, check=context.check_stop
        )
        create_python(folder.python, None, pip)
        launch = Launch(
            command=command,
            environment=variables,
            folder=f"{context.ml}/processing",
            work=folder.work,
            way=context.support.way,
            no_network=self._is_isolated,
        )
        self._events.status("Processing", "Processing in progress")
        with ml_link(folder.ml, context.support):
            try:
                process = JobProcess.start(launch, context.log, lambda lines: None)
            except (OSError, ValueError) as error:  # ValueError: a character that no variable can hold
                raise client_error(f"the command of the job cannot be started: {error}.") from None
            reason = context.watch(process, self._limits(), "processing job")
            outcome = process.outcome()
        self._write_exit_message()
        if isinstance(reason, Interrupted):
            raise internal_error(f"{reason}.")
        return reason or _end_of(outcome, list(process.reader.tail))

    def _explain_images(self) -> RunEnd:
        """Do what the Clarify image does, whose program is part of this package. Raises JobFailed."""
        self._events.status("Processing", "Processing in progress")
        limits = self._limits()

        def check() -> None:
            self._context.check_stop()
            if limits.exceeded():
                raise TimeoutError

        try:
            explain_images(self._context, check)
        except StopRequested:
            self._events.status("Stopping", "Stopping the processing job")
            return RunEnd.STOPPED
        except TimeoutError:
            return RunEnd.MAX_RUNTIME
        return RunEnd.COMPLETED

    def _limits(self) -> TimeLimits:
        seconds = (self._request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds")
        return TimeLimits(runtime=time.monotonic() + seconds if seconds else None)

    def _variables(self) -> dict[str, str]:
        """Return the environment of the command."""
        context, image = self._context, self._request["AppSpecification"]["ImageUri"]
        variables = {
            **account_variables(context.service, context.user),
            "PROCESSING_JOB_NAME": str(self._request["ProcessingJobName"]),
            "PROCESSING_JOB_ARN": self._arn,
            "SAGEMAKER_BASE_DIR": context.ml,
            "CURRENT_HOST": HOST,
            **context.service.job_environment,
            **(self._request.get("Environment") or {}),
        }
        variables |= device_variables(image, instance_of(self._request), variables)
        return variables | python_variables(context.folder, context.user, f"{context.ml}/code", variables)

    def _write_exit_message(self) -> None:
        path = self._context.folder.ml / "output" / "message"
        if path.is_file() and not path.is_symlink():
            with path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_MOST_MESSAGE)
            if text:
                self._events.append("exit_message", text=text)

    def _upload(self) -> None:
        """Upload the outputs. Raises S3Error, OSError."""
        context = self._context
        self._events.status("Uploading", "Uploading the outputs")
        for output in self._outputs:
            output.upload(context.folder, context.objects, context.log.write)

    def _fail(self, failure: JobFailed) -> str:
        """Upload what a failed job leaves behind and write its last events."""
        context = self._context
        try:
            with disk_full_as_error(context.folder.path):
                for output in self._outputs:
                    output.upload(context.folder, context.objects, context.log.write)
        except (ClearsightError, JobFailed, *STORE_ERRORS) as error:
            context.log.write(f"The outputs of the failed job are not uploaded: {error}")
        context.log.write(failure.reason)
        self._events.append("failed", reason=failure.reason, exit_code=failure.exit_code)
        self._events.status("Failed", failure.reason)
        return "Failed"

    def _introduce(self) -> None:
        """Write into the log what really runs."""
        cluster = self._request["ProcessingResources"]["ClusterConfig"]
        packages = ", ".join(
            f"{name} {version}" for name, version in versions(("torch", "torchvision", "scikit-learn", "numpy")).items()
        )
        image = self._request["AppSpecification"]["ImageUri"]
        machine = f"{instance_of(self._request)} stands for this machine"
        sentences = [
            self._context.support.sentence,
            f"The request names {image}; this job runs on {packages} of this machine.",
            f"{machine}: {several(cores(), 'core')}, {several(gpus(), 'GPU')}.",
        ]
        if int(cluster.get("InstanceCount") or 1) > 1:
            sentences.append("InstanceCount is more than 1: this machine is one instance.")
        self._context.log.write(*sentences)

    @property
    def _is_isolated(self) -> bool:
        return bool((self._request.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))

    @property
    def _arn(self) -> str:
        service = self._context.service
        name = self._request["ProcessingJobName"]
        return f"arn:aws:sagemaker:{service.region}:{service.account}:processing-job/{name}"


def _end_of(outcome: Outcome, lines: list[str]) -> RunEnd:
    """Return the end of a command that ended itself. Raises JobFailed for one that failed."""
    if outcome.problem:
        raise JobFailed(f"AlgorithmError: the command of the job cannot be started: {outcome.problem}", 127)
    if outcome.vanished:
        raise internal_error("the processes of the job were killed by something outside the job.")
    if outcome.exit_code:
        raise container_error(error_text(lines), outcome.exit_code)
    return RunEnd.COMPLETED
