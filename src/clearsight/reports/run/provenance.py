"""Section of the provenance: everything that is needed to train the same model again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, table
from clearsight.reports.run.report_data import RunReportData


def provenance(report: RunReportData) -> PageSection | None:
    """Return command, recipe, seed, data fingerprint, versions and hardware; None when none of them is known."""
    titles = {"path": "path", "format": "format", "fingerprint": "fingerprint (SHA-256)"}
    data = [(title, report.data[key]) for key, title in titles.items() if report.data.get(key)]
    data += [("seed", report.seed)] if report.seed is not None else []
    hardware = [(key.replace("_", " "), _value_text(value)) for key, value in _flattened(report.hardware)]
    tables = [
        table("Data and seed", ("item", "value"), "ll", data),
        table("Versions", ("package", "version"), "ll", report.versions.items()),
        table("Hardware", ("item", "value"), "ll", hardware),
    ]
    tables = [part for part in tables if part.rows]
    if not (report.command or report.recipe or tables):
        return None
    return PageSection(
        key="provenance",
        title="Provenance",
        template="run/provenance.html",
        values={
            "command": shlex.join(report.command),  # quoted, so that it can be pasted into a shell
            # With defaults filled in: a later version may have others.
            "recipe": report.recipe.rstrip(),
            "tables": tables,
        },
    )


def _flattened(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return nested values as one level; the key of an inner value follows that of its mapping."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += [(f"{key} {inner_key}", inner) for inner_key, inner in _flattened(value)]
        else:
            rows.append((key, value))
    return rows


def _value_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return UNKNOWN if value is None else str(value)
