"""RunFindings: what clearsight's own rules find about a job, beside those that SageMaker defines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.finding import Finding, flags
from clearsight.workflow.debug import debug
from clearsight.workflow.run.rules import ALL_RULES


class RunFindings:
    """Findings of clearsight's rules of some names in a run folder. The rules have their own default parameters: they
    measure otherwise than SageMaker's. `judge` reads the run once for all of them.
    """

    def __init__(self, run: Path, rules: Sequence[str]) -> None:
        self._run = run
        self._rules = sorted(set(rules) & set(ALL_RULES.names()))
        self._findings: Sequence[Finding] = ()

    @classmethod
    def none(cls) -> RunFindings:
        """Return findings without a run, which are none."""
        return cls(Path(), ())

    def judge(self) -> None:
        """Judge what is in the run folder now. Without a run nothing is found."""
        if not self._rules:
            return
        try:
            self._findings = debug(self._run, rules="none", rule=self._rules).findings
        except ClearsightError:  # no run, or one that was cut short: only the details are missing
            self._findings = ()

    def sentence(self, rule: str) -> str:
        """Return what clearsight's rule of a name has found, the cause first; "" where it has found nothing."""
        found = next((finding for finding in self._findings if finding.found and finding.rule == rule), None)
        return f"clearsight: {_sentence(found)}" if found is not None else ""


def _sentence(finding: Finding) -> str:
    measured = ""
    if finding.value is not None and finding.threshold is not None:
        unit = f" {finding.unit}" if finding.unit else ""
        measured = f" ({finding.value:.3g}{unit}, threshold {finding.threshold:.3g}{unit})"
    change = f"Set {flags(finding.fix)}." if finding.fix else ""
    advice = " ".join(part for part in (change, finding.advice) if part)
    return f"{finding.cause}{measured}.{' ' + advice if advice else ''}"
