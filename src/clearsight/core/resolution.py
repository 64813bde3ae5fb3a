"""ShownFindings: findings that were shown while a run went on, and which of them its rules no longer find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from clearsight.core.finding import Finding, Resolution, Verdict


class ShownFindings:
    """What was shown of each rule, until the rule no longer finds it.

    Nothing that was shown is taken back in silence: it is true at the end, or it has a Resolution.
    """

    def __init__(self, log: Iterable[Finding] = ()) -> None:
        """log: what was shown and resolved so far, in order of time, as in findings.live.jsonl."""
        self._open: dict[str, tuple[int, str]] = {}  # rule: step at which it was shown, cause
        self._resolved: dict[str, Resolution] = {}
        for finding in log:
            if finding.resolved is None:
                self.show(finding, finding.steps[1] if finding.steps else 0)
            else:
                self._open.pop(finding.rule, None)
                self._resolved[finding.rule] = finding.resolved

    def show(self, finding: Finding, step: int) -> None:
        """Note that a finding was shown after training step `step`; the first one of its rule counts."""
        self._open.setdefault(finding.rule, (step, finding.cause))
        self._resolved.pop(finding.rule, None)  # it is back

    def resolve(self, findings: Sequence[Finding], step: int) -> list[Finding]:
        """Return the verdicts of the rules whose shown finding is gone after training step `step`, with a Resolution.

        findings: the verdicts of all rules now.
        """
        found = {finding.rule for finding in findings if finding.found}
        gone = {finding.rule: finding for finding in reversed(findings) if finding.rule in self._open.keys() - found}
        for rule, verdict in gone.items():
            shown, cause = self._open.pop(rule)
            self._resolved[rule] = Resolution(step=step, shown=shown, cause=cause, why=_why(verdict))
        return [replace(verdict, resolved=self._resolved[rule]) for rule, verdict in gone.items()]

    def attach(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return the last verdicts, with the Resolution of what was shown before and is not found now."""
        found = {finding.rule for finding in findings if finding.found}
        return [
            replace(finding, resolved=self._resolved[finding.rule])
            if finding.rule in self._resolved.keys() - found
            else finding
            for finding in findings
        ]


def _why(verdict: Finding) -> str:
    """Return why a rule no longer finds what it found, as a clause."""
    if verdict.verdict is Verdict.NOT_ENOUGH_DATA:
        return f"there is no longer enough data to tell ({verdict.cause})"
    if verdict.cause:
        return verdict.cause
    if verdict.value is None or verdict.threshold is None:
        return "the rule has all its data and finds nothing now"
    unit = f" {verdict.unit}" if verdict.unit else ""
    return f"it is now {verdict.value:.3g}{unit}, the limit is {verdict.threshold:.3g}"
