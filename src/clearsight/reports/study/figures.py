"""Every figure of the page of a study as JSON, with the numbers of its trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from clearsight.reports.figures import strict, told
from clearsight.reports.section import PageSection
from clearsight.reports.study.facts import StudyReportData
from clearsight.reports.study.page import sections_of


def study_figures(facts: StudyReportData) -> dict[str, Any]:
    """What stands on the page of a study, as `figures_of` gives it."""
    return figures_of(facts, sections_of(facts))


def figures_of(facts: StudyReportData, sections: Sequence[PageSection]) -> dict[str, Any]:
    """Strict JSON values, None for what is no finite number.

    {"name", "status", "reason", "seconds", "objectives", "best", "importance", "hypervolume", "advice", "saved",
    "trials": [fields of a Trial], "sections": as for a run}.
    """
    return {
        "name": facts.name,
        "status": facts.status,
        "reason": facts.reason,
        "seconds": facts.seconds,
        "objectives": [asdict(aim) for aim in facts.plan.objectives],
        "best": strict(dict(facts.best)),
        "importance": {method: strict(dict(shares)) for method, shares in facts.importance.items()},
        "hypervolume": strict([list(point) for point in facts.hypervolume]),
        "advice": list(facts.advice),
        "saved": strict(dict(facts.saved)),
        "trials": [strict(asdict(trial)) for trial in facts.trials],
        "sections": told(sections),
    }
