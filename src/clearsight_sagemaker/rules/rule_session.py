"""RuleSession: all rules of a job, from the start of its script to their verdicts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.files import stays_inside
from clearsight_sagemaker.rules.actions import RuleActions
from clearsight_sagemaker.rules.built_in_rule import NO_DATA, BuiltInRule
from clearsight_sagemaker.rules.custom_rule import CustomRule, RuleEnvironment
from clearsight_sagemaker.rules.profiling.profiler_verdicts import ProfilerRule, ProfilerRules
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration, configurations
from clearsight_sagemaker.rules.rule_status import ERROR, FOUND, IN_PROGRESS, RuleReporter, RuleVerdict
from clearsight_sagemaker.rules.run_findings import RunFindings
from clearsight_sagemaker.rules.saved_tensors import SavedTensors
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.objects import JobObjects, Objects, split_uri

_EVERY = 0.5  # seconds between checks for new steps, more where a check takes long
_SETUP_ERRORS = (ClearsightError, S3Error, JobFailed, ValueError, OSError)


class RuleSession:
    """Rules of a job. `watch` while its script runs, then `finish`. Used by one thread.

    run: clearsight's run folder of the job, which may never come to be.
    """

    def __init__(
        self,
        folder: JobFolder,
        environment: RuleEnvironment,
        run: Path,
        objects: Objects,
        reporter: RuleReporter,
    ) -> None:
        self._folder, self._environment, self._run, self._objects = folder, environment, run, objects
        self._reporter, self._saved = reporter, _Tensors(environment.tensors, self._locate)
        self._request: Mapping[str, Any] = folder.read_request()
        service = folder.read_service()
        self._actions = RuleActions(self._request["TrainingJobName"], folder, service, reporter.write)
        self._findings = RunFindings(run, [rule.rule for rule in configurations(self._request)])
        self._built_in, self._custom = list[BuiltInRule](), list[CustomRule]()
        self._profiler = ProfilerRules(self._request, objects)
        self._request_time = folder.request.stat().st_mtime_ns
        for configuration in configurations(self._request):
            if not configuration.is_profiler:
                self._add(configuration)
        self._pass_on_errors(self._profiler.rules.values())

    def _add(self, configuration: RuleConfiguration) -> None:
        try:
            if configuration.source:
                rule = CustomRule(configuration, self._environment, self._objects, self._reporter, self._locate)
                self._custom.append(rule)
            else:
                self._built_in.append(BuiltInRule(configuration, self._request, self._findings))
        except _SETUP_ERRORS as error:
            self._report(configuration, RuleVerdict(status=ERROR, details=f"ClientError: {error}"), [])

    def _locate(self, uri: str) -> Path:
        """Return the folder of an address in the object store. Raises BadValue, JobFailed for another text."""
        bucket, key = split_uri(uri)
        if not isinstance(self._objects, JobObjects):
            raise BadValue(uri, "rules compare jobs in the service's own S3 alone")
        if not stays_inside(f"{bucket}/{key}"):
            raise BadValue(uri, "must be the address of a folder")
        return self._objects.store.folder / bucket / key

    def watch(self, end: threading.Event) -> None:
        """Judge what is saved until the event is set."""
        last_change = time.monotonic()
        pause = _EVERY
        while not end.wait(pause):
            start = time.monotonic()
            if self._check_new():
                last_change = time.monotonic()
            for rule in self._built_in:
                if rule.verdict is None:
                    rule.check_idle(time.monotonic() - last_change)
                    self._pass_on(rule)
            self._check_request()
            for profiler_rule in self._profiler.check():
                self._pass_on(profiler_rule)
            pause = max(_EVERY, 4 * (time.monotonic() - start))

    def finish(self) -> None:
        """Judge the last steps, and report all verdicts that are not yet there, those of profiler rules too."""
        self._check_new()
        self._check_request()
        self._profiler.finish(self._run)
        self._findings.judge()
        for rule in self._built_in:
            if rule.verdict is None and not self._tensors_are_there():
                rule.verdict = RuleVerdict(status=ERROR, details=NO_DATA)
                self._report(rule.configuration, rule.verdict, rule.actions)
            elif rule.verdict is None:
                self._report(rule.configuration, rule.finish(), rule.actions)
            elif rule.complete():
                self._report(rule.configuration, rule.verdict, [])  # its actions are done
        for custom in self._custom:
            if custom.verdict is None:
                self._report(custom.configuration, custom.finish(), custom.actions)
        for profiler_rule in self._profiler.verdicts(self._findings):
            self._pass_on(profiler_rule)

    def close(self) -> None:
        """End the processes of custom rules."""
        for rule in self._custom:
            rule.stop()

    def _check_request(self) -> None:
        """Take what UpdateTrainingJob has changed: the profiler's part, to which rules may have been added."""
        changed = self._folder.request.stat().st_mtime_ns
        if changed != self._request_time:
            self._request_time = changed
            added = self._profiler.update(self._folder.read_request())
            for rule in added:
                self._reporter.status(rule.configuration, IN_PROGRESS)
            self._pass_on_errors(added)

    def _pass_on_errors(self, rules: Iterable[ProfilerRule]) -> None:
        """Report the rules that cannot be judged at all."""
        for rule in rules:
            self._pass_on(rule)

    def _tensors_are_there(self) -> bool:
        return self._saved.opened() is not None

    def _check_new(self) -> bool:
        """Judge the steps that are new; return True where there are any."""
        for custom in self._custom:
            if custom.verdict is None:
                custom.check_process()
                self._pass_on(custom)
        waiting = [rule for rule in self._built_in if rule.verdict is None]
        tensors = self._saved.opened() if waiting else None
        if tensors is None:
            return False
        try:
            steps = tensors.refresh()
        except ClearsightError as error:
            for rule in waiting:
                rule.verdict = RuleVerdict(status=ERROR, details=f"ClientError: {error}")
                self._pass_on(rule)
            return False
        for rule in waiting:
            rule.check_steps(tensors, steps)
            self._pass_on(rule)
        return bool(steps)

    def _pass_on(self, rule: BuiltInRule | CustomRule | ProfilerRule) -> None:
        if rule.verdict is not None:
            self._report(rule.configuration, rule.verdict, rule.actions)

    def _report(self, rule: RuleConfiguration, verdict: RuleVerdict, actions: list[dict[str, str]]) -> None:
        self._reporter.verdict(rule, verdict)
        if verdict.status == FOUND and actions:
            self._actions.perform(rule.name, actions, verdict.details)


class _Tensors:
    """Tensors of a folder, once there are any."""

    def __init__(self, folder: Path, locate: Callable[[str], Path]) -> None:
        self._folder, self._locate = folder, locate
        self._tensors: SavedTensors | None = None

    def opened(self) -> SavedTensors | None:
        if self._tensors is None and SavedTensors.is_there(self._folder):
            self._tensors = SavedTensors(self._folder, self._locate)
        return self._tensors
