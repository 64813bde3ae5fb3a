"""Verdicts of the profiler rules of a job, and the report of ProfilerReport."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, ClearsightError
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile, Span, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine
from clearsight_sagemaker.rules.parameters import PROFILER_DEFAULTS, profiler_parameters, report_parameters
from clearsight_sagemaker.rules.profiling.job_metrics import JobMetrics
from clearsight_sagemaker.rules.profiling.profiler_conditions import judge_rule
from clearsight_sagemaker.rules.profiling.report_files import upload_report
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration, configurations
from clearsight_sagemaker.rules.rule_status import CLEAR, ERROR, FOUND, RuleVerdict, condition_met
from clearsight_sagemaker.rules.run_findings import RunFindings
from clearsight_sagemaker.run_profile import RunProfile
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.objects import Objects, join_uri
from smdebug.rules.action import parse_actions

_REPORT = "ProfilerReport"
_SCAN_SECONDS = 60.0  # between two judgements of a rule
_ERRORS = (ClearsightError, S3Error, JobFailed, sqlite3.Error, ValueError, TypeError, LookupError, OSError)
_NO_METRICS = (
    "ClientError: No profiling data was saved by the training job. Check that ProfilerConfig has an S3OutputPath"
)


@dataclass(slots=True)
class ProfilerRule:
    """A profiler rule of a job, with its verdict once it has one. next_check: on the monotonic clock."""

    configuration: RuleConfiguration
    actions: list[dict[str, str]]
    verdict: RuleVerdict | None = None
    next_check: float = 0.0


class ProfilerRules:
    """Profiler rules of a job. Problems with its metrics become those of the rules.

    While the script runs, `check` judges each rule every scan_interval_us; a rule that finds something has its
    verdict. When the script has ended, `finish` judges the others. A ProfilerReport is written at the end.
    """

    def __init__(self, request: Mapping[str, Any], objects: Objects) -> None:
        self._job, self._objects = request["TrainingJobName"], objects
        self.rules: dict[str, ProfilerRule] = {}
        self._base, self._metrics = "", JobMetrics("", objects)
        self._measured, self._problem = Profile(), ""
        self.update(request)

    def update(self, request: Mapping[str, Any]) -> list[ProfilerRule]:
        """Take the rules and the address of a request; return the rules that are new."""
        config = request.get("ProfilerConfig") or {}
        base = config.get("S3OutputPath") or request["OutputDataConfig"]["S3OutputPath"]
        if base != self._base:
            self._base = base
            self._metrics = JobMetrics(join_uri(base, self._job, "profiler-output"), self._objects)
        added = []
        for configuration in configurations(request):
            if configuration.is_profiler and configuration.name not in self.rules:
                added.append(_profiler_rule(configuration))
                self.rules[configuration.name] = added[-1]
        return added

    def check(self) -> list[ProfilerRule]:
        """Judge the rules that are due on the metrics so far; return those that have found something."""
        now = time.monotonic()
        due = [rule for rule in self._waiting() if rule.configuration.rule != _REPORT and rule.next_check <= now]
        if not due:
            return []
        self._measure()
        if self._problem or not self._measured:
            return []
        for rule in due:
            rule.next_check = now + _scan_seconds(rule.configuration)
            verdict = self._judge(rule.configuration, RunFindings.none())
            if verdict.status == FOUND:
                rule.verdict = verdict
        return [rule for rule in due if rule.verdict is not None]

    def _waiting(self) -> list[ProfilerRule]:
        return [rule for rule in self.rules.values() if rule.verdict is None]

    def _measure(self) -> None:
        self._problem = ""
        try:
            self._measured = self._metrics.profile()
        except _ERRORS as error:
            self._problem = _failure(error)

    def finish(self, run: Path) -> None:
        """Read the metrics of the whole job, and put them into clearsight's run folder of it."""
        if self.rules:
            self._measure()
            self.write_profile(run)

    def write_profile(self, run: Path) -> None:
        """Put the metrics into clearsight's run folder of the job, so that its reports and rules have them."""
        folder = run / "profile"
        if not self._measured or run.is_symlink() or folder.exists() or folder.is_symlink():
            return
        spans: list[StepTimes | Span] = [*self._measured.all_spans, *self._measured.step_times]
        try:
            folder.mkdir(parents=True)
            write_machine(folder, self._measured.machine)
            gauges_file(folder).write_text("".join(map(gauge_line, self._measured.gauge_samples)), encoding="utf-8")
            spans_file(folder).write_text("".join(map(span_line, spans)), encoding="utf-8")
        except (OSError, ClearsightError) as error:
            self._problem = _failure(error)

    def verdicts(self, findings: RunFindings) -> Iterator[ProfilerRule]:
        """Judge the rules that have no verdict yet, after `finish`. findings: of clearsight's rules on the job."""
        for rule in self._waiting():
            problem = self._problem or ("" if self._measured else _NO_METRICS)
            if problem:
                rule.verdict = RuleVerdict(status=ERROR, details=problem)
            else:
                rule.verdict = self._judge(rule.configuration, findings)
            yield rule

    def _judge(self, rule: RuleConfiguration, findings: RunFindings) -> RuleVerdict:
        try:
            if rule.rule == _REPORT:
                uri = join_uri(rule.output or self._base, self._job, "rule-output", rule.name, "profiler-output")
                return _report_verdict(rule, self._job, self._measured, uri, self._objects)
            return _rule_verdict(rule, self._job, self._measured, findings)
        except _ERRORS as error:
            return RuleVerdict(status=ERROR, details=_failure(error))


def _profiler_rule(configuration: RuleConfiguration) -> ProfilerRule:
    try:
        return ProfilerRule(configuration, parse_actions(configuration.actions))
    except ValueError as error:
        return ProfilerRule(configuration, [], RuleVerdict(status=ERROR, details=f"ClientError: {error}"))


def _scan_seconds(rule: RuleConfiguration) -> float:
    text = rule.parameters.get("scan_interval_us", "")
    return int(text) / 1e6 if text.isdecimal() else _SCAN_SECONDS


def _run_profile(job: str, measured: Profile, parameters: Mapping[str, Mapping[str, float]]) -> RunProfile:
    run = RunProfile(name=job, profile=measured, findings={}, rules={}, rule_parameters=parameters, whole_job=True)
    findings = {rule: (judge_rule(run, rule, values),) for rule, values in parameters.items()}
    return RunProfile(
        name=job, profile=measured, findings=findings, rules={}, rule_parameters=parameters, whole_job=True
    )


def _report_verdict(rule: RuleConfiguration, job: str, measured: Profile, uri: str, objects: Objects) -> RuleVerdict:
    run = _run_profile(job, measured, report_parameters(rule.parameters))
    upload_report(run, uri, objects)
    found = [finding for findings in run.findings.values() for finding in findings if finding.found]
    page = f"The report is {join_uri(uri, 'profiler-report.html')}"
    if not found:
        lacking = [name for name, (finding,) in run.findings.items() if finding.verdict is Verdict.NOT_ENOUGH_DATA]
        more = f" Too little data for {', '.join(lacking)}." if lacking else ""
        return RuleVerdict(status=CLEAR, details=f"{page}.{more}")
    causes = "; ".join(f"{finding.rule}: {finding.cause}" for finding in found)
    return RuleVerdict(status=FOUND, details=f"{condition_met(rule.rule, len(measured.step_times))}{causes}. {page}.")


def _rule_verdict(rule: RuleConfiguration, job: str, measured: Profile, findings: RunFindings) -> RuleVerdict:
    if rule.rule not in PROFILER_DEFAULTS:
        allowed = [*PROFILER_DEFAULTS, _REPORT]
        raise BadChoice(rule.name, f"names {rule.rule or 'no rule_to_invoke'}", got=rule.rule, allowed=allowed)
    run = _run_profile(job, measured, {rule.rule: profiler_parameters(rule.rule, rule.parameters)})
    (finding,) = run.findings[rule.rule]
    more = findings.sentence(rule.rule)
    if finding.found:
        details = f"{condition_met(rule.rule, len(measured.step_times))}{_capital(finding)}"
        return RuleVerdict(status=FOUND, details=" ".join(filter(None, [details, more])))
    lacking = f"Too little data: {finding.cause}." if finding.verdict is Verdict.NOT_ENOUGH_DATA else ""
    return RuleVerdict(status=CLEAR, details=" ".join(filter(None, [lacking, more])))


def _capital(finding: Finding) -> str:
    return f"{finding.cause[0].upper()}{finding.cause[1:]}."


def _failure(error: BaseException) -> str:
    is_sentence = isinstance(error, (ClearsightError, ValueError))
    return f"ClientError: {error if is_sentence else f'{type(error).__name__}: {error}'}"
