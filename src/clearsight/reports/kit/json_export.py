"""Every figure of the page of a run as JSON, for who wants to draw or count on with its numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from clearsight.reports.kit.section import PageSection, Panel, Table
from clearsight.reports.run.page import sections_of
from clearsight.reports.run.report_data import RunReportData


def run_figures(facts: RunReportData) -> dict[str, Any]:
    """What stands on the page of a run, as `figures_of` gives it."""
    return figures_of(facts, sections_of(facts))


def figures_of(facts: RunReportData, sections: Sequence[PageSection]) -> dict[str, Any]:
    """Strict JSON values, None for what is no finite number.

    {"name", "status", "sections": {key: {"title", "panels": {key: {"title", "says", "figure": of Plotly, "table":
    {"columns", "rows"}}}, "tables": {caption: {"columns", "rows"}}}}, "findings": as `Finding.to_json`}.
    """
    return {
        "name": facts.name,
        "status": facts.status,
        "sections": told(sections),
        "findings": [strict(finding.to_json()) for finding in facts.findings],
    }


def told(sections: Sequence[PageSection]) -> dict[str, Any]:
    """Panels and tables of each section, as `figures_of` gives them."""
    return {
        section.key: {
            "title": section.title,
            "panels": {panel.key: _panel(panel) for panel in section.panels},
            "tables": {one.caption: _table(one) for one in section.tables},
        }
        for section in sections
    }


def strict(value: Any) -> Any:
    """JSON values in which what is no finite number is None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(inner) for inner in value]
    return value


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "says": panel.says,
        "figure": strict(json.loads(panel.json)),
        "table": _table(panel.table),
    }


def _table(shown: Table) -> dict[str, Any]:
    return {"columns": list(shown.columns), "rows": [list(row) for row in shown.rows]}
