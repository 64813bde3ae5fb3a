"""Section of the rules: every rule that ran, with its verdict, its numbers and its parameters, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.finding import Finding, Verdict
from clearsight.core.format import count, several
from clearsight.reports.kit.format import UNKNOWN, general
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.run.findings import counts_by_verdict, verdicts
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


def rules(report: RunReportData) -> PageSection | None:
    """Return the section; None when there is no rule."""
    if not (report.rules or report.findings):
        return None
    summary = rules_table(report.rules, report.findings)
    number = several(len(summary.rows), "rule")
    counts = counts_by_verdict(report.findings)
    return PageSection(
        key="rules",
        title="Rules",
        template="run/rules.html",
        values={
            "about": f"{number}: {counts}." if counts else f"{number}; none has a verdict yet.",
            "summary": summary,
        },
        tables=(summary,),
    )


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

    rows = [_row(name, known.get(name, {}), by_rule.get(name, [])) for name in sorted(names, key=place)]
    return table("All rules", _COLUMNS, "lllrrlrll", rows)


def _row(name: str, rule: Mapping[str, Any], findings: Sequence[Finding]) -> tuple[str, ...]:
    found = [finding for finding in findings if finding.found]
    # Of several findings the first one speaks for the rule; the section of findings has all.
    finding = next(iter(found or findings), None)
    if finding is None:
        return (name, UNKNOWN, "", "", "", "", "", "", _parameters(rule))
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
        _parameters(rule),
    )


def _parameters(rule: Mapping[str, Any]) -> str:
    values = (rule.get("parameters") or {}).items()
    # Unset parameters have no value worth a place in a wide table.
    return ", ".join(f"{name}={value}" for name, value in values if value not in (None, "", [], ()))
