"""JobRules: the rules of a job beside its script, and the run folder that remains of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from clearsight_sagemaker.rules.rule_configuration import configurations
from clearsight_sagemaker.rules.rule_process import RuleProcess, RuleSettings, tensors_folder
from clearsight_sagemaker.training.event_log import EventLog
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport


class JobRules:
    """Rules of a job; every method does nothing for a job without rules, but the run folder is kept in any case."""

    def __init__(self, folder: JobFolder, request: Mapping[str, Any], events: EventLog, log: JobLog) -> None:
        self._folder, self._request, self._events, self._log = folder, request, events, log
        self._process: RuleProcess | None = None
        self._settings: RuleSettings | None = None

    def start(self, support: NamespaceSupport, variables: Mapping[str, str], user: Mapping[str, str]) -> None:
        """Start to judge the rules, before the script starts. variables: of the script.  user: of this process."""
        self._settings = RuleSettings(support=support, variables=variables, user=user)
        self._start_process(self._settings)

    def update(self, request: Mapping[str, Any]) -> None:
        """Take a request that was changed while the script runs; a process that judges already reads it itself."""
        self._request = request
        if self._process is None and self._settings is not None:
            self._start_process(self._settings)

    def _start_process(self, settings: RuleSettings) -> None:
        if not any(configurations(self._request)):
            return
        try:
            self._process = RuleProcess(self._folder, self._request, settings, self._events, self._log)
        except OSError as error:
            self._log.write(f"The rules of the job are not judged: {error}")

    def stop(self) -> None:
        """End without verdicts: the job is started again."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def finish(self) -> None:
        """Wait for the verdicts, and keep the run folder. The files of the job are still there."""
        try:
            if self._process is not None:
                self._process.finish()
            self._keep_run()
        except (OSError, JobFailed) as error:  # a full disk, or a request without a folder for tensors
            self._log.write(f"The rules of the job were not judged to the end: {error}")

    def report(self, *, is_stopped: bool) -> None:
        """Append the verdicts as events. is_stopped: the user has stopped the job."""
        if self._process is not None:
            self._process.report(is_stopped=is_stopped)

    def _keep_run(self) -> None:
        source = tensors_folder(self._folder, self._request).parent / "clearsight"
        if source.is_symlink() or not source.is_dir() or source.resolve().parent != source.parent.resolve():
            return
        if self._folder.run.exists():
            shutil.rmtree(self._folder.run)
        source.rename(self._folder.run)
        self._log.write(
            f"clearsight has recorded this job. Open it with: clearsight report {self._folder.run},"
            f" or: clearsight debug {self._folder.run}"
        )
