"""Page of a study: one self-contained HTML file in the order of a run's own page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clearsight.reports.kit.document import Page
from clearsight.reports.study.curves import curves
from clearsight.reports.study.front import front
from clearsight.reports.study.history import history
from clearsight.reports.study.importance import importance
from clearsight.reports.study.parallel import parallel
from clearsight.reports.study.provenance import provenance
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.savings import savings
from clearsight.reports.study.slices import contours, slices
from clearsight.reports.study.timeline import timeline
from clearsight.reports.study.trials import trials
from clearsight.reports.study.verdict import verdict


class StudyPage(Page[StudyReportData]):
    """Page of one study, under 8 MB for 500 trials."""

    kind = "Study report"
    # First what was found, then what the search says about the settings, then how it ran.
    _SETTINGS = (importance, slices, contours, parallel)
    SECTIONS = (verdict, trials, history, front, *_SETTINGS, curves, timeline, savings, provenance)

    def __init__(self, data: StudyReportData) -> None:
        super().__init__(data, title=data.name, badge=data.status.replace("_", " "))

    def values(self) -> dict[str, Any]:
        """Return status, objectives, best trial, importance, advice and all trials; each trial with all its fields."""
        report = self.data
        return {
            "name": report.name,
            "status": report.status,
            "reason": report.reason,
            "seconds": report.seconds,
            "objectives": [asdict(objective) for objective in report.plan.objectives],
            "best": report.best,
            "importance": report.importance,
            "hypervolume": report.hypervolume,
            "advice": report.advice,
            "saved": report.saved,
            # "spared_seconds" is the older name of "saved_seconds".
            "trials": [{**asdict(trial), "spared_seconds": trial.saved_seconds} for trial in report.trials],
        }
