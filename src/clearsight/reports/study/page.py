"""The page of a study: one self-contained HTML file in the shape of a run's own page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from clearsight.reports.kit.document import Document
from clearsight.reports.kit.json_export import strict, told
from clearsight.reports.kit.section import PageSection
from clearsight.reports.study.contours import contours
from clearsight.reports.study.curves import curves
from clearsight.reports.study.front import front
from clearsight.reports.study.history import history
from clearsight.reports.study.importance import importance
from clearsight.reports.study.parallel import parallel
from clearsight.reports.study.provenance import provenance
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.savings import savings
from clearsight.reports.study.slices import slices
from clearsight.reports.study.timeline import timeline
from clearsight.reports.study.trials import trials
from clearsight.reports.study.verdict import verdict

# In the order of the page. A section that has nothing to say returns None and is left out.
SECTIONS: tuple[Callable[[StudyReportData], PageSection | None], ...] = (
    verdict,
    trials,
    history,
    front,
    importance,
    slices,
    contours,
    parallel,
    curves,
    timeline,
    savings,
    provenance,
)


def study_page(facts: StudyReportData) -> str:
    """The page of one study as HTML, under 8 MB for 500 trials; the same facts give the same bytes."""
    return page_of(facts, sections_of(facts))


def sections_of(facts: StudyReportData) -> list[PageSection]:
    """The sections that have something to say, in order; page and figures are both made of them."""
    return [section for build in SECTIONS if (section := build(facts)) is not None]


def page_of(facts: StudyReportData, sections: Sequence[PageSection]) -> str:
    """The page of one study made of its sections."""
    return Document(
        title=facts.name, kind="Study report", badge=facts.status.replace("_", " "), sections=sections
    ).render()


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
