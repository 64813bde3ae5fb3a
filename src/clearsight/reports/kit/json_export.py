"""Figures and tables of a page as JSON, for programs that draw or compute with the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.files import finite_json
from clearsight.reports.kit.section import PageSection, Panel, Table

# The JSON has tables by caption. A caption that was changed keeps its old key beside the new one.
_OLD_CAPTIONS = {"All rules": "Every rule that was asked"}


def page_json(values: Mapping[str, Any], sections: Sequence[PageSection]) -> dict[str, Any]:
    """Return `values` and the sections of a page as JSON values; a number that is not finite becomes None.

    {**values, "sections": {key: {"title", "panels": {key: {"title", "says", "figure": of Plotly, "table": {"columns",
    "rows"}}}, "tables": {caption: {"columns", "rows"}}}}}.
    """
    return {**finite_json(values), "sections": {section.key: _section(section) for section in sections}}


def _section(section: PageSection) -> dict[str, Any]:
    tables = {table.caption: _table(table) for table in section.tables}
    return {
        "title": section.title,
        "panels": {panel.key: _panel(panel) for panel in section.panels},
        "tables": tables | {old: tables[new] for new, old in _OLD_CAPTIONS.items() if new in tables},
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "says": panel.description,  # the key is part of the format; see docs/report.md
        "figure": finite_json(json.loads(panel.json)),
        "table": _table(panel.table),
    }


def _table(table: Table) -> dict[str, Any]:
    return {"columns": list(table.columns), "rows": [list(row) for row in table.rows]}
