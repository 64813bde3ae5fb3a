"""Section of the data: what the run was trained on, and notices about it."""

from __future__ import annotations

from clearsight.core.format import count, several
from clearsight.reports.charts.class_counts import counts_panel, imbalance
from clearsight.reports.kit.section import PageSection, notice_values
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
