"""debug: ask the rules about a run that was saved, whoever trained it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.finding import Finding, Severity
from clearsight.core.judge import judge
from clearsight.core.tensors import Mode
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.workflow.run.rules import BOOK

_TOLD = (
    *("rule", "verdict", "severity", "value", "threshold", "unit", "steps", "epoch", "subject", "cause", "fix"),
    *("advice", "confidence", "group", "points"),
)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the rules say of a run. findings: grouped, the root cause first; points: {tensor: {mode: saved steps}}."""

    findings: Sequence[Finding]
    points: Mapping[str, Mapping[Mode, int]]

    def at_least(self, severity: Severity) -> list[Finding]:
        """What was found of that severity or worse."""
        return [finding for finding in self.findings if finding.found and finding.severity.rank <= severity.rank]

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight debug --json`."""
        told = [finding.to_json() for finding in self.findings]
        return {
            "findings": [{name: _finite(each[name]) for name in _TOLD} for each in told],
            "points": {name: {**modes} for name, modes in self.points.items()},
        }


def debug(path: str | Path, *, rules: str = "default", rule: Sequence[str] = ()) -> Diagnosis:
    """Replay rules on the run in folder `path`: the same code on the same numbers as while it trained.

    rules: default | all | none | names, separated by commas.  rule: rules with parameters, or files with one's own.
    Raises NotFound when there is no run, BadChoice for a rule that there is not.
    """
    asked, trial = select_rules(rules, rule, BOOK), SavedRun(Path(path))
    tape = trial.tape()
    if rules == "default" and not tape.profile:  # nobody measured, so nobody wanted to know
        asked = [one for one in asked if one.topic == "learning" or any(text.startswith(one.name) for text in rule)]
    return Diagnosis(findings=judge(asked, tape), points=trial.points())


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN; a finding about them is told as a word."""
    if isinstance(value, float) and value not in (0.0,) and value - value != 0:
        return str(value)
    return value
