"""Sections of the data and of the provenance: what the run was trained on, and all that is needed to train it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from clearsight.core.format import count, several
from clearsight.reports.charts.class_counts import counts_panel, imbalance
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import PageSection, notice_values, table
from clearsight.reports.run.report_data import RunReportData

SAMPLES_SHOWN = 24
_BALANCED = 1.05  # largest over smallest class; up to this ratio the classes count as equally large


def data(report: RunReportData) -> PageSection | None:
    """Return the section; None when nothing is known about the data."""
    counts, classes = report.data.get("counts") or {}, report.data.get("classes") or ()
    if not counts and not report.notices and not report.samples:
        return None
    splits = ", ".join(f"{count(sum(row.values()))} {split}" for split, row in counts.items())
    about = f"{several(len(classes), 'class')}; images: {splits or 'none'}."
    ratio = imbalance(counts, classes)
    if ratio is not None and ratio > _BALANCED:
        about += f" The largest training class has {ratio:.1f} times as many images as the smallest."
    return PageSection(
        key="data",
        title="Data",
        template="run/data.html",
        values={
            "about": about,
            "notices": [notice_values(notice) for notice in report.notices],
            "samples": [{"thumbnail": "", **sample} for sample in report.samples[:SAMPLES_SHOWN]],
        },
        panels=(counts_panel(counts, classes),) if counts and classes else (),
    )


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
            "recipe_title": "What the loop uses" if report.external else "Recipe",
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
