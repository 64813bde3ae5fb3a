"""The section of data: what the run learned from, and what was noticed about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight.reports.charts.class_counts import counts_panel, imbalance
from clearsight.reports.kit.format import count, several
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.report_data import RunReportData

PATHS_LISTED = 50
SAMPLES_SHOWN = 24
_EVEN = 1.05  # under this ratio classes count as equally large


def data(facts: RunReportData) -> PageSection | None:
    """None when nothing is known about the data."""
    counts, classes = facts.data.get("counts") or {}, facts.data.get("classes") or ()
    if not counts and not facts.notices and not facts.samples:
        return None
    return PageSection(
        key="data",
        title="Data",
        template="data.html",
        values={
            "about": _about(facts),
            "notices": [noticed(notice) for notice in facts.notices],
            "samples": [
                {"id": str(one["id"]), "label": str(one["label"]), "thumbnail": str(one.get("thumbnail") or "")}
                for one in facts.samples[:SAMPLES_SHOWN]
            ],
        },
        panels=(counts_panel(counts, classes),) if counts and classes else (),
    )


def noticed(notice: Mapping[str, Any]) -> dict[str, Any]:
    """A notice as a template shows it: its code, its sentence, the first of its paths, and how many are left out."""
    paths = [str(path) for path in notice.get("paths", ())]
    return {
        "code": notice["code"],
        "text": notice["text"],
        "paths": paths[:PATHS_LISTED],
        "about": several(len(paths), "image"),
        "left": max(0, len(paths) - PATHS_LISTED),
    }


def _about(facts: RunReportData) -> str:
    counts, classes = facts.data.get("counts") or {}, facts.data.get("classes") or ()
    split = ", ".join(f"{count(sum(row.values()))} {name}" for name, row in counts.items())
    sentence = f"{several(len(classes), 'class')}; images: {split or 'none'}."
    ratio = imbalance(counts, classes)
    if ratio is not None and ratio > _EVEN:
        sentence += f" The largest training class has {ratio:.1f} times the images of the smallest."
    return sentence
