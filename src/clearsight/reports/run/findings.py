"""The section of findings: root causes first, each with its evidence and what to change; consequences below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import Finding, Severity, Verdict, flags
from clearsight.reports.kit.format import general, percent
from clearsight.reports.kit.section import PageSection
from clearsight.reports.kit.sparkline import HEIGHT, WIDTH, sparkline
from clearsight.reports.run.report_data import RunReportData

_CAUSES = 40
_ALSO = 8  # more places of one rule than these are counted, not listed
_LINES = 3


def findings(facts: RunReportData) -> PageSection | None:
    """None when no rule was asked."""
    if not facts.findings:
        return None
    causes = root_causes(facts.findings)
    topics = {str(rule["name"]): str(rule.get("topic", "")) for rule in facts.rules}
    return PageSection(
        key="findings",
        title="Findings",
        template="findings.html",
        values={
            "causes": [_told(cause, topics) for cause in causes[:_CAUSES]],
            "left": max(0, len(causes) - _CAUSES),
            "counts": counted(facts.findings),
            "width": WIDTH,
            "height": HEIGHT,
        },
        scripts=("copy.js", "fold.js") if causes else (),
    )


def sentence(text: str) -> str:
    """Words as a sentence: a capital in front and a full stop behind."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def measured(finding: Finding) -> str:
    """What was measured beside the border it was held against, in words; "" where there is no number."""
    if finding.value is None:
        return ""
    said = quantity(finding.value, finding.unit)
    return said if finding.threshold is None else f"{said}, held against {quantity(finding.threshold, finding.unit)}"


def quantity(value: float | None, unit: str) -> str:
    """A number with its unit: "12.3%", "4.1% of the loss", "6 steps"."""
    return f"{general(value)}{unit if unit.startswith('%') else f' {unit}'}".rstrip()


def _told(cause: RootCause, topics: dict[str, str]) -> dict[str, Any]:
    return {
        "root": _one(cause.root, topics),
        "also": [_place(finding) for finding in cause.also[:_ALSO]],
        "left": max(0, len(cause.also) - _ALSO),
        "consequences": [_one(finding, topics) for finding in cause.consequences],
        "names": ", ".join(dict.fromkeys(finding.rule for finding in cause.consequences)),
    }


def _one(finding: Finding, topics: dict[str, str]) -> dict[str, Any]:
    lines = [line for series in finding.evidence[:_LINES] if (line := sparkline(series)) is not None]
    known = [
        ("measured", measured(finding)),
        ("where", finding.subject),
        ("steps", _steps(finding)),
        ("sure", percent(finding.confidence) if finding.confidence < 1 else ""),
    ]
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "topic": topics.get(finding.rule, ""),
        "cause": sentence(finding.cause),
        "fix": flags(finding.fix),
        "advice": sentence(finding.advice),
        "known": [(name, value) for name, value in known if value],
        "lines": lines,
    }


def _steps(finding: Finding) -> str:
    if finding.steps is None:
        return "" if finding.epoch is None else f"from epoch {finding.epoch} on"
    first, last = finding.steps
    steps = f"{first}" if first == last else f"{first} to {last}"
    return steps if finding.epoch is None else f"{steps}, from epoch {finding.epoch} on"


def _place(finding: Finding) -> str:
    told = [finding.subject, measured(finding), f"steps {_steps(finding)}" if finding.steps else ""]
    return "; ".join(word for word in told if word) or finding.cause


@dataclass(frozen=True)
class RootCause:
    """root: the finding to act on.  also: what the same rule found elsewhere.  consequences: what comes of it."""

    root: Finding
    also: tuple[Finding, ...]
    consequences: tuple[Finding, ...]


def root_causes(findings: Sequence[Finding]) -> list[RootCause]:
    """Found findings by their `group`, in the order in which they were given."""
    members: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.found:
            members.setdefault(finding.group or finding.rule, []).append(finding)
    return [_cause(name, of_it) for name, of_it in members.items()]


def most_urgent(findings: Sequence[Finding], speed: Collection[str] = ()) -> Finding | None:
    """The root to act on first: that of the first cause which is, or leads to, more than worth knowing.

    speed: rules about how fast a run is; what is wrong with the result comes before them.
    """
    causes = root_causes(findings)
    for cause in sorted(causes, key=lambda cause: cause.root.rule in speed):
        every = (cause.root, *cause.also, *cause.consequences)
        if any(finding.severity is not Severity.INFO for finding in every):
            return cause.root
    return None


def verdicts(findings: Sequence[Finding]) -> Mapping[str, Verdict]:
    """Each rule's verdict: found where it found anything, else what it said first."""
    told: dict[str, Verdict] = {}
    for finding in findings:
        if finding.found or finding.rule not in told:
            told[finding.rule] = finding.verdict
    return told


def counted(findings: Sequence[Finding]) -> str:
    """How many rules found something, are clear, or lack data: "2 found something, 29 clear, 8 not enough data"."""
    number = Counter(verdicts(findings).values())
    words = {Verdict.FOUND: "found something", Verdict.CLEAR: "clear", Verdict.NOT_ENOUGH_DATA: "not enough data"}
    return ", ".join(f"{number[verdict]} {said}" for verdict, said in words.items() if number[verdict])


def _cause(name: str, members: Sequence[Finding]) -> RootCause:
    root = next((finding for finding in members if finding.rule == name), members[0])
    also = tuple(finding for finding in members if finding.rule == root.rule and finding is not root)
    return RootCause(root, also, tuple(finding for finding in members if finding.rule != root.rule))
