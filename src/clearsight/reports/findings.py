"""The section of findings: root causes first, each with its evidence and what to change; consequences below them."""

from __future__ import annotations

from typing import Any

from clearsight.core.finding import Finding, flags
from clearsight.reports.facts import RunReportData
from clearsight.reports.root_causes import RootCause, counted, root_causes
from clearsight.reports.section import PageSection
from clearsight.reports.sparkline import HEIGHT, WIDTH, sparkline
from clearsight.reports.wording import general, percent

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
