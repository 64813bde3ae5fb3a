"""Run folders with a hand-written profile and the findings of the rules on it."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.finding import write_findings
from clearsight.core.judge import judge
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import gauge_line, gauges_file, span_line, spans_file, write_machine, write_trace
from clearsight.core.rule import Rule
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.testing.profiles import profiled
from clearsight_sagemaker.rule_reports import RULES


def run_folder(path: Path, measured: Profile, *rules: Rule) -> Path:
    """Write the run folder of a profiled script. rules: replace the default rules of their name."""
    folder = path / "profile"
    folder.mkdir(parents=True)
    write_machine(folder, measured.machine)
    gauges_file(folder).write_text("".join(map(gauge_line, measured.gauge_samples)), encoding="utf-8")
    lines = map(span_line, (*measured.all_spans, *measured.step_times))
    spans_file(folder).write_text("".join(lines), encoding="utf-8")
    if measured.trace:
        write_trace(folder, measured.trace)
    checked = {name: PROFILER_RULES.load(name)() for name in RULES} | {rule.name: rule for rule in rules}
    write_findings(path / "findings.jsonl", judge([*checked.values()], profiled(measured)))
    return path
