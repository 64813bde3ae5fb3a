"""Findings of the rules: grouped by root cause, counted by verdict, and as the section of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import Finding, Severity, Verdict, flags
from clearsight.reports.kit.format import general, percent, sentence
from clearsight.reports.kit.section import PageSection
from clearsight.reports.kit.sparkline import HEIGHT, WIDTH, sparkline
from clearsight.reports.run.report_data import RunReportData

# A run of 3,000 findings must stay a page that opens: these bounds keep the section under 1 MB.
_CAUSES = 40
_OTHER_PLACES = 8  # more places of one rule are counted, not listed
_SPARKLINES = 3  # of one finding


@dataclass(frozen=True)
class RootCause:
    """Finding to act on. others: what the same rule found elsewhere.  consequences: findings that follow from it."""

    root: Finding
    others: tuple[Finding, ...]
    consequences: tuple[Finding, ...]


def root_causes(findings: Sequence[Finding]) -> list[RootCause]:
    """Group the findings that were found by their `group`, in the order in which they were given."""
    members: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.found:
            # A finding that no judge has grouped is its own root.
            members.setdefault(finding.group or finding.rule, []).append(finding)
    return [_root_cause(name, group) for name, group in members.items()]


def most_urgent(findings: Sequence[Finding], speed: Collection[str] = ()) -> Finding | None:
    """Return the root to act on first: the first one that is, or leads to, more than information; None without one.

    speed: rules about how fast a run is. A wrong result comes before a slow one.
    """
    causes = root_causes(findings)
    for cause in sorted(causes, key=lambda cause: cause.root.rule in speed):
        members = (cause.root, *cause.others, *cause.consequences)
        if any(finding.severity is not Severity.INFO for finding in members):
            return cause.root
    return None


def verdicts(findings: Sequence[Finding]) -> Mapping[str, Verdict]:
    """Return the verdict of each rule: found where it found anything, else its first verdict."""
    by_rule: dict[str, Verdict] = {}
    for finding in findings:
        if finding.found or finding.rule not in by_rule:
            by_rule[finding.rule] = finding.verdict
    return by_rule


def counts_by_verdict(findings: Sequence[Finding]) -> str:
    """Return the number of rules of each verdict: "2 found something, 29 clear, 8 not enough data"."""
    number = Counter(verdicts(findings).values())
    words = {Verdict.FOUND: "found something", Verdict.CLEAR: "clear", Verdict.NOT_ENOUGH_DATA: "not enough data"}
    return ", ".join(f"{number[verdict]} {text}" for verdict, text in words.items() if number[verdict])


def findings(report: RunReportData) -> PageSection | None:
    """Return the section: root causes first, each with evidence and fix; None when no rule ran."""
    if not report.findings:
        return None
    causes = root_causes(report.findings)
    topics = {str(rule["name"]): str(rule.get("topic", "")) for rule in report.rules}
    return PageSection(
        key="findings",
        title="Findings",
        template="run/findings.html",
        values={
            "causes": [_cause_values(cause, topics) for cause in causes[:_CAUSES]],
            "left": max(0, len(causes) - _CAUSES),
            "counts": counts_by_verdict(report.findings),
            "width": WIDTH,
            "height": HEIGHT,
        },
        scripts=("copy.js", "fold.js") if causes else (),
    )


def measured(finding: Finding) -> str:
    """Return the measured value and its threshold as text; "" for a finding without a number."""
    if finding.value is None:
        return ""
    value = quantity(finding.value, finding.unit)
    if finding.threshold is None:
        return value
    return f"{value} (threshold: {quantity(finding.threshold, finding.unit)})"


def quantity(value: float | None, unit: str) -> str:
    """Return a number with its unit: "12.3%", "4.1% of the loss", "6 steps"."""
    return f"{general(value)}{unit if unit.startswith('%') else f' {unit}'}".rstrip()


def _root_cause(name: str, members: Sequence[Finding]) -> RootCause:
    # The rule that names the group may have found nothing itself; then its first consequence stands in for it.
    root = next((finding for finding in members if finding.rule == name), members[0])
    others = tuple(finding for finding in members if finding.rule == root.rule and finding is not root)
    return RootCause(root, others, tuple(finding for finding in members if finding.rule != root.rule))


def _cause_values(cause: RootCause, topics: dict[str, str]) -> dict[str, Any]:
    return {
        "root": _finding_values(cause.root, topics),
        "others": [_place(finding) for finding in cause.others[:_OTHER_PLACES]],
        "left": max(0, len(cause.others) - _OTHER_PLACES),
        "consequences": [_finding_values(finding, topics) for finding in cause.consequences],
        "names": ", ".join(dict.fromkeys(finding.rule for finding in cause.consequences)),
    }


def _finding_values(finding: Finding, topics: dict[str, str]) -> dict[str, Any]:
    lines = [line for series in finding.evidence[:_SPARKLINES] if (line := sparkline(series)) is not None]
    details = [
        ("measured", measured(finding)),
        ("where", finding.subject),
        ("steps", _steps(finding)),
        ("confidence", percent(finding.confidence) if finding.confidence < 1 else ""),
    ]
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "topic": topics.get(finding.rule, ""),
        "cause": sentence(finding.cause),
        "fix": flags(finding.fix),
        "advice": sentence(finding.advice),
        "details": [(name, value) for name, value in details if value],
        "lines": lines,
    }


def _steps(finding: Finding) -> str:
    if finding.steps is None:
        return "" if finding.epoch is None else f"from epoch {finding.epoch} on"
    first, last = finding.steps
    steps = f"{first}" if first == last else f"{first} to {last}"
    return steps if finding.epoch is None else f"{steps}, from epoch {finding.epoch} on"


def _place(finding: Finding) -> str:
    parts = [finding.subject, measured(finding), f"steps {_steps(finding)}" if finding.steps else ""]
    return "; ".join(part for part in parts if part) or finding.cause
