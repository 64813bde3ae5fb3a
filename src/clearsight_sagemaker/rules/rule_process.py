"""RuleProcess: the process that judges the rules of a job, as the process of the job sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from clearsight_sagemaker.rules.rule_configuration import configurations
from clearsight_sagemaker.rules.rule_status import CLEAR, ERROR, FOUND, IN_PROGRESS, STOPPED
from clearsight_sagemaker.smdebug_folder import SMDEBUG_FOLDER
from clearsight_sagemaker.training.container_files import synced_folders
from clearsight_sagemaker.training.event_log import EventLog
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport

_PACKAGES = Path(__file__).parents[2]
_SECONDS = 60.0  # between the end of the script and the verdicts
_MOST_LINES = 20  # of what the process writes when it fails


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSettings:
    """Settings of the rules of a job. variables: of the script.  user: of the process of the job."""

    support: NamespaceSupport
    variables: Mapping[str, str]
    user: Mapping[str, str]


class RuleProcess:
    """A running process of rules. Verdicts that come before `finish` become events at once, the others by `report`.

    A process that fails, or takes too long, gives the status Error to the rules without a verdict; the job goes on.
    """

    def __init__(
        self, folder: JobFolder, request: Mapping[str, Any], settings: RuleSettings, events: EventLog, log: JobLog
    ) -> None:
        self._events, self._log = events, log
        self._rules = [(rule.is_profiler, rule.name) for rule in configurations(request)]
        self._tensors = tensors_folder(folder, request)
        self._verdicts: dict[tuple[bool, str], dict[str, Any]] = {}
        self._reported = set[tuple[bool, str]]()
        self._is_ending, self._problem, self._lines = False, "", list[str]()
        for rule in self._rules:
            self._event(rule, IN_PROGRESS)
        packages = os.pathsep.join(
            [str(_PACKAGES), str(SMDEBUG_FOLDER), *filter(None, [settings.user.get("PYTHONPATH", "")])]
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "clearsight_sagemaker.rules", str(folder.path)],
            env={**settings.user, "PYTHONPATH": packages, "SMDEBUG_TRAINING_END_DELAY_REFRESH": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._send(
            json.dumps(
                {
                    "tensors": str(self._tensors),
                    "variables": {**settings.variables, "SMDEBUG_TRAINING_END_DELAY_REFRESH": "0"},
                    "way": settings.support.way,
                    "no_network": bool(request.get("EnableNetworkIsolation")),
                }
            )
        )
        self._threads = [
            threading.Thread(target=self._read_reports, args=(self._process.stdout,), name="rules", daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), name="rule errors", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def finish(self) -> None:
        """Wait for the verdicts of a job whose script has ended; none of them is an event yet."""
        self._is_ending = True
        self._mark_end()
        self._send("finish")
        late = ""
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            late = f"it did not end within {_SECONDS:g} s after the script"
            self._process.kill()
        self._join()
        code = self._process.returncode
        self._problem = late or (f"its process ended with exit code {code}" if code else self._problem)
        if self._problem:
            self._log.write(f"The rules of the job were not judged to the end: {self._problem}.", *self._lines)

    def report(self, *, is_stopped: bool = False) -> None:
        """Append the verdicts as events: SageMaker changes them after the end of training.

        is_stopped: the user has stopped the job, and with it the rules that have found nothing until then.
        """
        for rule in self._rules:
            if rule in self._reported:
                continue
            event = self._verdicts.get(rule, {})
            if is_stopped and event.get("status") != FOUND:
                self._event(rule, STOPPED, str(event.get("details", "")) if event.get("status") == CLEAR else "")
            elif event:
                self._events.append("rule", **event)
            else:
                reason = self._problem or "it has no verdict"
                self._event(rule, ERROR, f"InternalServerError: the rule was not judged to the end: {reason}.")

    def stop(self) -> None:
        """End the process without verdicts: the job is started again."""
        self._process.kill()
        self._join()

    def _mark_end(self) -> None:
        """Write the file by which readers of the tensors know that no more comes."""
        if self._tensors.is_dir():
            marker = self._tensors / "training_job_end.ts"
            if not marker.is_symlink():
                marker.touch()

    def _join(self) -> None:
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # a line that the process has not read
                    continue

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it has ended, or its pipe is closed
            self._problem = "its process has ended"

    def _read_reports(self, pipe: IO[str]) -> None:
        for line in pipe:
            if not line.endswith("\n"):  # cut by the kill of the process
                return
            values = json.loads(line)
            if "log" in values:
                self._log.append(values["log"])
                continue
            event = values["rule"]
            key = (event["profiler"], event["configuration"])
            if key not in self._rules:  # UpdateTrainingJob has added it
                self._rules.append(key)
            if event["status"] == IN_PROGRESS:
                self._events.append("rule", **event)
                continue
            self._verdicts[key] = event
            if self._is_ending:
                self._reported.discard(key)
            else:
                self._events.append("rule", **event)
                self._reported.add(key)

    def _read_errors(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._lines = [*self._lines, line.rstrip("\n")][-_MOST_LINES:]

    def _event(self, rule: tuple[bool, str], status: str, details: str = "") -> None:
        is_profiler, name = rule
        more = {"details": details} if details else {}
        self._events.append("rule", configuration=name, status=status, profiler=is_profiler, **more)


def tensors_folder(folder: JobFolder, request: Mapping[str, Any]) -> Path:
    """Return the folder in which a job saves tensors. Raises JobFailed for a LocalPath outside /opt/ml."""
    folders = {part.name: part.container for part in synced_folders(request, None)}
    return folder.inside(folders.get("debug-output", "/opt/ml/output/tensors"))
