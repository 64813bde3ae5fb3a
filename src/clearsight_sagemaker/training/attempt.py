"""JobAttempt: one start of a job, from its folders to the end of its script."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.secrets import redact
from clearsight_sagemaker.algorithms.built_in_algorithms import algorithm_python_path
from clearsight_sagemaker.training.channels import Channel, Downloader, channels_of
from clearsight_sagemaker.training.container_files import SyncedFolder, synced_folders, write_container_files
from clearsight_sagemaker.training.environment import gpus, platform_variables, toolkit_variables
from clearsight_sagemaker.training.failure import (
    Interrupted,
    JobFailed,
    algorithm_error,
    client_error,
    container_error,
    error_text,
    script_error,
)
from clearsight_sagemaker.training.folder_sync import FolderSync, SyncThread
from clearsight_sagemaker.training.hyperparameters import Hyperparameters
from clearsight_sagemaker.training.job_profiler import JobProfiler
from clearsight_sagemaker.training.job_python import PipSettings, create_python, install_package
from clearsight_sagemaker.training.metric_definitions import MetricReader
from clearsight_sagemaker.training.processes.job_context import JobContext, RunEnd, TimeLimits
from clearsight_sagemaker.training.processes.job_process import JobProcess, Launch, Outcome
from clearsight_sagemaker.training.processes.namespaces import ml_link, remove_work
from clearsight_sagemaker.training.user_code import UserCode, fetch_code, make_executable

_KILLED = "its processes were killed by something outside the job, such as the system where memory runs short"


@dataclass(slots=True)
class JobAttempt:
    """One start of a job. `prepare` it, then `run` it; the folder of its work is new."""

    context: JobContext
    code: UserCode
    channels: Sequence[Channel]
    hyperparameters: Hyperparameters
    synced: Sequence[SyncedFolder]
    metrics: MetricReader
    _syncs: dict[str, FolderSync] = field(default_factory=dict)
    _variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, context: JobContext) -> JobAttempt:
        """Return an attempt of a job. Raises JobFailed where its request cannot be carried out here."""
        request = context.request
        hyperparameters = Hyperparameters.of(request.get("HyperParameters") or {})
        if request.get("EnableNetworkIsolation") and not context.support.no_network:
            raise client_error(f"EnableNetworkIsolation is not possible on this machine: {context.support.reason}.")
        definitions = request["AlgorithmSpecification"].get("MetricDefinitions") or ()
        return cls(
            context,
            UserCode.of(request, hyperparameters),
            channels_of(request),
            hyperparameters,
            synced_folders(request, hyperparameters.framework.get("sagemaker_s3_output")),
            MetricReader.of(definitions, context.events.metric),
        )

    def prepare(self) -> None:
        """Make the folders of the job, and download data, code and checkpoints. Raises JobFailed, StopRequested."""
        context, folder = self.context, self.context.folder
        remove_work(folder.work)
        for path in (folder.home, folder.mounts, folder.channels):
            path.mkdir(parents=True)
        context.objects.check_bucket(context.request["OutputDataConfig"]["S3OutputPath"])
        write_container_files(folder, context.request, self.channels, self.synced, context.ml)
        for part in self.synced:
            context.objects.check_bucket(part.uri)
            self._syncs[part.name] = sync = FolderSync(folder.inside(part.container), part.uri, context.objects)
            if part.restored and (count := sync.restore()):
                context.log.write(f"{count} files of {part.uri} are in {part.container}.")
        overlaid = context.support.way == "overlay"
        downloader = Downloader(objects=context.objects, links=overlaid, check=context.check_stop)
        for channel in self.channels:
            target = folder.channels if overlaid else folder.ml / "input" / "data"
            count = downloader.download(channel, target / channel.name)
            context.log.write(f"Channel {channel.name}: {count} files of {channel.uri}, mode {channel.mode}.")
        fetch_code(self.code, context.objects, folder.ml / "code")
        context.check_stop()
        self._prepare_python()
        context.check_stop()

    def _prepare_python(self) -> None:
        context, folder = self.context, self.context.folder
        variables = platform_variables(folder, context.request, context.service, context.user, context.ml)
        if context.request.get("EnableNetworkIsolation"):
            variables["PIP_NO_INDEX"] = "1"
        code = folder.ml / "code"
        requirements = code / "requirements.txt"
        is_python = self.code.program.endswith(".py")
        pip = PipSettings(
            environments=context.service.home / "environments", variables=variables, check=context.check_stop
        )
        if is_python and requirements.is_file():
            context.log.write("Packages of requirements.txt are installed, unless an earlier job had the same file.")
            create_python(folder.python, requirements, pip)
        else:
            create_python(folder.python, None, pip)
        if is_python and (code / "setup.py").is_file():
            context.log.write(*install_package(folder.python / "bin" / "python", code, variables))
        if self.code.is_built_in:  # with the packages of this process, and without what changes users' scripts
            variables["PYTHONPATH"] = algorithm_python_path(context.user.variables)
        if self.code.program:
            make_executable(code / self.code.program)
            variables |= toolkit_variables(context.request, self.hyperparameters, self.code, self.channels, context.ml)
        self._variables = variables

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the environment of the script, once the attempt is prepared."""
        return self._variables

    def run(self, limits: TimeLimits, on_request: Callable[[Mapping[str, Any]], None] = lambda request: None) -> RunEnd:
        """Run the script to its end. Raises JobFailed, Interrupted, and OSError or S3Error for its uploads.

        on_request: called with the request where UpdateTrainingJob changes it meanwhile.
        """
        context, folder = self.context, self.context.folder
        command = self.code.script_command(folder.ml / "code", self.hyperparameters.arguments(), gpus())
        launch = Launch(
            command=command,
            environment=self._variables,
            folder=f"{context.ml}/code" if self.code.program else "/",
            work=folder.work,
            way=context.support.way,
            links=str(folder.channels) if context.support.way == "overlay" else "",
            read_only=[channel.name for channel in self.channels if channel.mode == "FastFile"],
            no_network=bool(context.request.get("EnableNetworkIsolation")),
        )
        if self.code.program:
            self._log_command(command)
        with ExitStack() as stack:
            stack.enter_context(ml_link(folder.ml, context.support))
            profiler = JobProfiler(context.folder, context.objects, context.events, context.log, context.ml)
            profiler.start(context.request)
            stack.callback(profiler.stop)
            if self._syncs:
                stack.callback(SyncThread(list(self._syncs.values()), context.log.write).stop)
            try:
                process = JobProcess.start(launch, context.log, self.metrics.read)
            except (OSError, ValueError) as error:  # ValueError: a character that no variable can hold
                raise client_error(f"the command of the job cannot be started: {error}.") from None
            reason = context.watch(process, limits, "training job", lambda: profiler.check(on_request))
            outcome = process.outcome()
        self._finish_uploads()
        return self._end(reason, outcome, command, process)

    def _finish_uploads(self) -> None:
        for sync in self._syncs.values():
            sync.finish()
        for sentence in self.metrics.finish():
            self.context.log.write(sentence)

    def _end(
        self, reason: RunEnd | Interrupted | None, outcome: Outcome, command: Sequence[str], process: JobProcess
    ) -> RunEnd:
        if isinstance(reason, Interrupted):
            raise reason
        if reason is not None:
            return reason
        if outcome.problem:
            raise JobFailed(f"AlgorithmError: the command of the job cannot be started: {outcome.problem}", 127)
        if outcome.vanished:
            raise Interrupted(_KILLED)
        if self.code.program:
            result = "FAILURE" if outcome.exit_code else "SUCCESS"
            self.context.log.write(f"Reporting training {result}")
        if outcome.exit_code:
            raise self._failure(outcome.exit_code, command, list(process.reader.tail))
        return RunEnd.COMPLETED

    def _failure(self, exit_code: int, command: Sequence[str], lines: Sequence[str]) -> JobFailed:
        text = _failure_text(self.context.folder.ml / "output" / "failure")
        if self.code.program and not text:
            return script_error(command, exit_code, lines)
        if self.code.is_built_in and text:
            return algorithm_error(text, exit_code)
        return container_error(text or error_text(lines), exit_code)

    def _log_command(self, command: Sequence[str]) -> None:
        shown = {name: value for name, value in sorted(self._variables.items()) if name.startswith("SM_")}
        environment = json.loads(shown.pop("SM_TRAINING_ENV"))
        lines = [
            "Invoking user script",
            "Training Env:",
            json.dumps(environment, indent=4),
            "Environment variables:",
            *(f"{name}={value}" for name, value in shown.items()),
            "Invoking script with the following command:",
            shlex.join(command),
        ]
        self.context.log.write(*(redact(line) for line in lines))


def _failure_text(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(4096).strip()
