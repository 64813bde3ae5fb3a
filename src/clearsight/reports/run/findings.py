"""Sections of the findings, grouped by root cause, and of the rules, each with its verdict and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.finding import Finding, Severity, Verdict, flags
from clearsight.core.format import count, several
from clearsight.reports.kit.format import UNKNOWN, general, percent, sentence
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.kit.sparkline import HEIGHT, WIDTH, sparkline
from clearsight.reports.run.report_data import RunReportData

# A run of 3,000 findings must stay a page that opens: these bounds keep the section under 1 MB.
_CAUSES = 40
_OTHER_PLACES = 8  # more places of one rule are counted, not listed
_SPARKLINES = 3  # of one finding
_COLUMNS = (
    "rule",
    "verdict",
    "severity",
    "value",
    "threshold",
    "unit",
    "times found",
    "data points",
    "parameters",
)


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
    causes = []
    for name, group in members.items():
        # The rule that names the group may have found nothing itself; then its first consequence stands in for it.
        root = next((finding for finding in group if finding.rule == name), group[0])
        others = tuple(finding for finding in group if finding.rule == root.rule and finding is not root)
        causes.append(RootCause(root, others, tuple(finding for finding in group if finding.rule != root.rule)))
    return causes


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
            "resolved": [_resolved_text(finding) for finding in report.findings if finding.resolved is not None],
            "counts": counts_by_verdict(report.findings),
            "width": WIDTH,
            "height": HEIGHT,
        },
        scripts=("copy.js", "fold.js") if causes else (),
    )


def rules(report: RunReportData) -> PageSection | None:
    """Return the section; None when there is no rule."""
    if not (report.rules or report.findings):
        return None
    summary = rules_table(report.rules, report.findings)
    about = f"{several(len(summary.rows), 'rule')}: {counts_by_verdict(report.findings)}."
    if not report.findings:
        about = f"{several(len(summary.rows), 'rule')}; none has a verdict yet."
    values = {"about": about, "summary": summary}
    return PageSection(key="rules", title="Rules", template="run/rules.html", values=values, tables=(summary,))


def rules_table(rules: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> Table:
    """Return a row per rule: first the rules that found something, the most severe on top, then the clear ones.

    Rules without enough data follow, and last the rules without a verdict, with a dash.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    # Findings may come from rules that are not listed, such as the user's own.
    known = {str(rule["name"]): rule for rule in rules}
    names = list(dict.fromkeys([*known, *by_rule]))
    by_verdict, order = verdicts(findings), list(Verdict)

    def place(name: str) -> tuple[int, int, int]:
        if name not in by_verdict:
            return len(order), 0, 0
        found = [finding for finding in by_rule[name] if finding.found]
        worst = min((finding.severity.rank for finding in found), default=0)
        return order.index(by_verdict[name]), worst, -len(found)

    rows = [_rule_row(name, known.get(name, {}), by_rule.get(name, [])) for name in sorted(names, key=place)]
    return table("All rules", _COLUMNS, "lllrrlrll", rows)


def _resolved_text(finding: Finding) -> str:
    assert finding.resolved is not None
    shown, cause = f"shown at step {finding.resolved.shown}", finding.resolved.cause.rstrip(".")
    return f"{finding.rule}, {shown} ({cause}), resolved at step {finding.resolved.step}: {finding.resolved.why}."


def measured(finding: Finding) -> str:
    """Return the measured value and its threshold as text; "" for a finding without a number."""
    if finding.value is None:
        return ""
    limit = "" if finding.threshold is None else f" (threshold: {quantity(finding.threshold, finding.unit)})"
    return f"{quantity(finding.value, finding.unit)}{limit}"


def quantity(value: float | None, unit: str) -> str:
    """Return a number with its unit: "12.3%", "4.1% of the loss", "6 steps"."""
    return f"{general(value)}{unit if unit.startswith('%') else f' {unit}'}".rstrip()


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
    first, last = finding.steps or ("", "")
    epoch = "" if finding.epoch is None else f"from epoch {finding.epoch} on"
    return ", ".join(part for part in (f"{first}" if first == last else f"{first} to {last}", epoch) if part)


def _place(finding: Finding) -> str:
    parts = [finding.subject, measured(finding), f"steps {_steps(finding)}" if finding.steps else ""]
    return "; ".join(part for part in parts if part) or finding.cause


def _rule_row(name: str, rule: Mapping[str, Any], findings: Sequence[Finding]) -> tuple[str, ...]:
    # Unset parameters have no value worth a place in a wide table.
    values = {key: value for key, value in (rule.get("parameters") or {}).items() if value not in (None, "", [], ())}
    parameters = ", ".join(f"{key}={value}" for key, value in values.items())
    found = [finding for finding in findings if finding.found]
    # Of several findings the first one speaks for the rule; the section of findings has all.
    finding = next(iter(found or findings), None)
    if finding is None:
        return (name, UNKNOWN, "", "", "", "", "", "", parameters)
    points = finding.points
    return (
        name,
        finding.verdict.value.replace("-", " "),
        finding.severity.value if found else "",
        general(finding.value),
        general(finding.threshold),
        finding.unit,
        count(len(found)),
        f"{count(points.have)} of {count(points.want)} {points.of}" if points else "",
        parameters,
    )
