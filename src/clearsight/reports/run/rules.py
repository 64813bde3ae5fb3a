"""The section of rules: every rule that was asked, its verdict, and the numbers behind it, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.finding import Finding, Verdict
from clearsight.reports.kit.format import UNKNOWN, count, general, several
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.run.findings import counted, verdicts
from clearsight.reports.run.report_data import RunReportData

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


def rules(facts: RunReportData) -> PageSection | None:
    """None when no rule was asked."""
    if not (facts.rules or facts.findings):
        return None
    summary = rules_table(facts.rules, facts.findings)
    asked = several(len(summary.rows), "rule")
    counts = counted(facts.findings)
    return PageSection(
        key="rules",
        title="Rules",
        template="rules.html",
        values={
            "about": f"{asked} asked: {counts}." if counts else f"{asked} asked; none has answered yet.",
            "summary": summary,
        },
        tables=(summary,),
    )


def rules_table(asked: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> Table:
    """A row per rule: those that found something first, the most severe on top, then the clear, then those without
    enough data; a rule that has not answered has a dash."""
    told: dict[str, list[Finding]] = {}
    for finding in findings:
        told.setdefault(finding.rule, []).append(finding)
    known = {str(rule["name"]): rule for rule in asked}
    names = list(dict.fromkeys([*known, *told]))
    answers, order = verdicts(findings), list(Verdict)

    def place(name: str) -> tuple[int, int, int]:
        if name not in answers:
            return len(order), 0, 0
        found = [one for one in told[name] if one.found]
        worst = min((one.severity.rank for one in found), default=0)
        return order.index(answers[name]), worst, -len(found)

    rows = [_row(name, known.get(name, {}), told.get(name, [])) for name in sorted(names, key=place)]
    return table("Every rule that was asked", _COLUMNS, "lllrrlrll", rows)


def _row(name: str, rule: Mapping[str, Any], told: Sequence[Finding]) -> tuple[str, ...]:
    found = [finding for finding in told if finding.found]
    speaks = next(iter(found or told), None)
    if speaks is None:
        return (name, UNKNOWN, "", "", "", "", "", "", _parameters(rule))
    points = speaks.points
    return (
        name,
        speaks.verdict.value.replace("-", " "),
        speaks.severity.value if found else "",
        general(speaks.value),
        general(speaks.threshold),
        speaks.unit,
        count(len(found)),
        f"{count(points.have)} of {count(points.want)} {points.of}" if points else "",
        _parameters(rule),
    )


def _parameters(rule: Mapping[str, Any]) -> str:
    values = (rule.get("parameters") or {}).items()
    return ", ".join(f"{name}={value}" for name, value in values if value not in (None, "", [], ()))
