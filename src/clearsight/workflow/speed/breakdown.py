"""Breakdown: time of a run by phase and gauge, with the findings about speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.errors import NotResumable
from clearsight.core.finding import Finding, read_findings, write_findings
from clearsight.core.judge import judge
from clearsight.core.profile import Floats, Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import RunFolder
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.run.rules import findings_json


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Time of a run by phase and gauge, and the findings of the profiler's rules, grouped, the root cause first."""

    profile: Profile
    findings: Sequence[Finding]

    def steps(self) -> dict[str, float]:
        """Return the number of training steps ("count") and of images in them ("samples").

        Where steps were timed: images_per_second, and mean, p50, p95 and max of their seconds.
        """
        table = self.profile.steps()
        totals = {"count": float(len(table)), "samples": float(table.samples.sum())}
        if not len(table):
            return totals
        return {
            **totals,
            **_spread(table.seconds, "mean", "p50", "p95", "max"),
            "images_per_second": float(table.samples.sum() / max(table.seconds.sum(), 1e-9)),
        }

    def phases(self) -> dict[str, dict[str, float]]:
        """Return, per phase of a step, seconds ("mean", "p50", "p95") and its "share" of all step time, in [0, 1].

        A step without the phase counts as 0. "rest" is what no phase covers.
        """
        seconds = self.profile.steps().seconds
        columns = {name: np.nan_to_num(self.profile.phase(name)) for name in self.profile.phases()}
        if columns:
            columns["rest"] = np.maximum(0.0, seconds - sum(columns.values()))
        total = max(float(seconds.sum()), 1e-9)
        return {
            name: {**_spread(column, "mean", "p50", "p95"), "share": float(column.sum() / total)}
            for name, column in columns.items()
        }

    def gauges(self) -> dict[str, dict[str, float]]:
        """Return "min", "p50", "p95", "p99" and "max" of each gauge, during training steps where there are any."""
        gauges: dict[str, dict[str, float]] = {}
        for name in self.profile.gauges():
            series = self.profile.gauge(name)
            during_steps = self.profile.within(series)
            values = during_steps.values if len(during_steps) else series.values
            if len(values):
                gauges[name] = _spread(values, "min", "p50", "p95", "p99", "max")
        return gauges

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight profile --json`; a value that is not finite is null."""
        findings = findings_json(self.findings)
        return {
            "steps": self.steps(),
            "phases": self.phases(),
            "gauges": self.gauges(),
            "findings": [{name: row[name] for name in row if name != "epoch"} for row in findings],
        }


def check_free(out: Path) -> None:
    """Raise NotResumable where a profile cannot go into the folder `out`."""
    if RunFolder(out).state.exists() or RunFolder(out).profile.exists():
        raise NotResumable(str(out), "a run is there already", fix="Choose another folder.")


def conclude(out: Path, *, status: str, command: Sequence[str], seconds: float) -> list[Finding]:
    """Judge the profile in the run folder `out`, write findings and report; return the profiler's findings.

    Findings of a Hook in the same loop stay in findings.jsonl.
    """
    from clearsight.workflow.run.report import write_external_report

    path, profiler_rules = RunFolder(out).findings, set(PROFILER_RULES.names())
    measured, context = read_profile(RunFolder(out).profile), SavedRun(out).context
    if not context.batch_size:
        context = replace(context, batch_size=measured.machine.batch_size)
    findings = judge(select_rules(book=PROFILER_RULES), Tape(context, ended=True, profile=measured))
    others = [finding for finding in read_findings(path) if finding.rule not in profiler_rules]
    write_findings(path, [*others, *findings])
    write_external_report(out, name=out.name, status=status, command=command, seconds=seconds)
    return findings


def _spread(values: Floats, *names: str) -> dict[str, float]:
    """Return statistics by name: "min", "mean", "max", or a percentile as "p95"."""
    ends = {"min": values.min(), "mean": values.mean(), "max": values.max()}
    return {name: float(ends[name] if name in ends else np.percentile(values, int(name[1:]))) for name in names}
