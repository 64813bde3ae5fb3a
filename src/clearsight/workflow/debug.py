"""debug: the verdict of the rules on a saved run, whoever trained it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.files import finite_json
from clearsight.core.finding import Finding, Severity, flags, read_findings
from clearsight.core.judge import judge
from clearsight.core.resolution import ShownFindings
from clearsight.core.run import RunFolder
from clearsight.core.tensors import Mode
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.saved_tensor import SavedTensor
from clearsight.workflow.display.text import diagnosis_lines
from clearsight.workflow.results.html import facts_html
from clearsight.workflow.run.rules import ALL_RULES, findings_json


@dataclass(frozen=True, kw_only=True, repr=False)
class Diagnosis:
    """Findings of the rules on a run, grouped, the root cause first; points: {tensor: {mode: saved steps}}."""

    findings: Sequence[Finding]
    points: Mapping[str, Mapping[Mode, int]]

    def at_least(self, severity: Severity) -> list[Finding]:
        """Return what was found of that severity or worse."""
        return [finding for finding in self.findings if finding.found and finding.severity.rank <= severity.rank]

    def __repr__(self) -> str:
        return "\n".join(diagnosis_lines(self.findings))

    def _repr_html_(self) -> str:
        # Two columns: four would leave a phone a word a line.
        rows = [(finding.severity.value, _sentence(finding)) for finding in self.findings if finding.found]
        counts = Counter(finding.verdict.value.replace("-", " ") for finding in self.findings)
        facts = [("verdicts", ", ".join(f"{number} {verdict}" for verdict, number in counts.items()))]
        return facts_html("Diagnosis", [*facts, *rows])

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight debug --json`; a value that is not finite is null."""
        points = {name: {**modes} for name, modes in self.points.items()}
        return {"findings": findings_json(self.findings), "points": points}


def _sentence(finding: Finding) -> str:
    fix = flags(finding.fix) or finding.advice
    return f"{finding.rule}: {finding.cause}{f'. Fix: {fix}' if fix else ''}"


def debug(path: str | Path, *, rules: str = "default", rule: Sequence[str] = ()) -> Diagnosis:
    """Replay rules on the run in folder `path`: the same code on the same numbers as during training.

    rules: default | all | none | names, separated by commas.  rule: rules with parameters, or files with own rules.
    Raises NotFound when there is no run, BadChoice for an unknown rule.
    """
    selected, saved_run = select_rules(rules, rule, ALL_RULES), SavedRun(Path(path))
    tape = saved_run.tape()
    if rules == "default" and not tape.profile:
        # Without a profile every rule about speed lacks data; only those that were named are asked.
        # "IOBottleneck(threshold=20)" names one, too.
        selected = [r for r in selected if r.topic == "learning" or any(text.startswith(r.name) for text in rule)]
    shown, findings = ShownFindings(read_findings(RunFolder(Path(path)).live_findings)), judge(selected, tape)
    shown.resolve(findings, tape.done())  # of a run that was killed: its end resolved nothing
    return Diagnosis(findings=shown.attach(findings), points=saved_run.points())


@dataclass(frozen=True)
class SavedSeries:
    """A tensor or a scalar as it was saved in one mode. statistic: shown of a tensor; a scalar has its value."""

    tensor: SavedTensor
    mode: Mode
    tensor_statistic: str

    @property
    def steps(self) -> list[int]:
        """The saved steps, ascending."""
        return self.tensor.steps(self.mode)

    @property
    def statistic(self) -> str | None:
        """Statistic of the values; None for a scalar."""
        return None if self.tensor.scalars.get(self.mode) else self.tensor_statistic

    def values(self) -> dict[int, float]:
        """Return the value of each saved step."""
        return self.tensor.curve(self.mode, self.tensor_statistic)

    def last(self) -> float:
        """Return the value of the last saved step, without reading the others."""
        step = self.steps[-1]  # a listing of many tensors must not load them all
        if self.statistic is None:
            return float(self.tensor.value(step, self.mode))
        return self.tensor.reduction(self.statistic, self.mode, [step])[step]

    def to_json(self, *, series: bool) -> dict[str, Any]:
        """Return the shape of a row of `clearsight debug tensors --json`. series: with the values of all steps."""
        steps = self.steps
        row = {"name": self.tensor.name, "collection": self.tensor.collection, "mode": self.mode, "points": len(steps)}
        row |= {"first": steps[0], "last": steps[-1], "statistic": self.statistic, "value": self.last()}
        if series:
            values = self.values()
            row |= {"steps": list(values), "values": list(values.values())}
        return dict(finite_json(row))


def saved_series(
    path: str | Path,
    *,
    name: str | None = None,
    collection: str | None = None,
    mode: str | None = None,
    statistic: str = "l2",
) -> list[SavedSeries]:
    """Return what was saved of the run in folder `path`, by name and mode.

    name: a regular expression.  collection, mode: only this one.  statistic: shown of tensors.
    Raises NotFound when there is no run, BadChoice for an unknown collection, mode or statistic.
    """
    run = SavedRun(Path(path))
    tensors = [run.tensor(found) for found in run.tensor_names(name, collection, mode)]
    return [
        SavedSeries(tensor, saved, statistic) for tensor in tensors for saved in tensor.modes() if mode in (None, saved)
    ]
