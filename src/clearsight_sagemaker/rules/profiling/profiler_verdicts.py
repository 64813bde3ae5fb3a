"""Verdicts of the profiler rules of a job, and the report of ProfilerReport."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, ClearsightError
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile, Span, StepTimes
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine
from clearsight_sagemaker.rules.parameters import PROFILER_DEFAULTS, profiler_parameters, report_parameters
from clearsight_sagemaker.rules.profiling.job_metrics import job_profile
from clearsight_sagemaker.rules.profiling.profiler_conditions import judge_rule
from clearsight_sagemaker.rules.profiling.report_files import upload_report
from clearsight_sagemaker.rules.rule_configuration import RuleConfiguration, configurations
from clearsight_sagemaker.rules.rule_status import CLEAR, ERROR, FOUND, RuleVerdict, condition_met
from clearsight_sagemaker.rules.run_findings import RunFindings
from clearsight_sagemaker.run_profile import RunProfile
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.objects import Objects, join_uri

_REPORT = "ProfilerReport"
_ERRORS = (ClearsightError, S3Error, JobFailed, sqlite3.Error, ValueError, TypeError, LookupError, OSError)
_NO_METRICS = (
    "ClientError: No profiling data was saved by the training job. Check that ProfilerConfig has an S3OutputPath"
)


class ProfilerRules:
    """Profiler rules of a job whose script has ended. Problems with its metrics become those of the rules."""

    def __init__(self, request: Mapping[str, Any], objects: Objects) -> None:
        self._rules = [rule for rule in configurations(request) if rule.is_profiler]
        config = request.get("ProfilerConfig") or {}
        self._base = config.get("S3OutputPath") or request["OutputDataConfig"]["S3OutputPath"]
        self._job, self._objects = request["TrainingJobName"], objects
        self._measured, self._problem = Profile(), ""
        if self._rules:
            try:
                self._measured = job_profile(join_uri(self._base, self._job, "profiler-output"), objects)
            except _ERRORS as error:
                self._problem = _failure(error)

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

    def verdicts(self, findings: RunFindings) -> Iterator[tuple[RuleConfiguration, RuleVerdict]]:
        """Yield the rules with their verdicts. findings: of clearsight's rules on the job."""
        for rule in self._rules:
            problem = self._problem or ("" if self._measured else _NO_METRICS)
            if problem:
                yield rule, RuleVerdict(status=ERROR, details=problem)
                continue
            try:
                if rule.rule == _REPORT:
                    uri = join_uri(rule.output or self._base, self._job, "rule-output", rule.name, "profiler-output")
                    yield rule, _report_verdict(rule, self._job, self._measured, uri, self._objects)
                else:
                    yield rule, _rule_verdict(rule, self._job, self._measured, findings)
            except _ERRORS as error:
                yield rule, RuleVerdict(status=ERROR, details=_failure(error))


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
