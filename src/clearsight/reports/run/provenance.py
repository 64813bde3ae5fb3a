"""The section of provenance: all it takes to train the same model again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, Table, table
from clearsight.reports.run.report_data import RunReportData


def provenance(facts: RunReportData) -> PageSection | None:
    """Command, recipe, seed, data fingerprint, versions and hardware; None when nothing of it is known."""
    tables = [shown for shown in (_data(facts), _versions(facts), _hardware(facts)) if shown.rows]
    if not (facts.command or facts.recipe or tables):
        return None
    return PageSection(
        key="provenance",
        title="Provenance",
        template="provenance.html",
        values={
            "command": shlex.join(facts.command),
            "recipe": facts.recipe.rstrip(),
            "tables": tables,
        },
    )


def _data(facts: RunReportData) -> Table:
    known = {"path": "path", "format": "format", "fingerprint": "fingerprint (SHA-256)"}
    rows = [(title, facts.data[key]) for key, title in known.items() if facts.data.get(key)]
    if facts.seed is not None:
        rows.append(("seed", facts.seed))
    return table("Data and seed", ("what", "value"), "ll", rows)


def _versions(facts: RunReportData) -> Table:
    return table("Versions", ("package", "version"), "ll", facts.versions.items())


def _hardware(facts: RunReportData) -> Table:
    rows = ((key.replace("_", " "), _said(value)) for key, value in _flat(facts.hardware))
    return table("Hardware", ("what", "value"), "ll", rows)


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += [(f"{key} {inner}", said) for inner, said in _flat(value)]
        else:
            rows.append((key, value))
    return rows


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return UNKNOWN if value is None else str(value)
