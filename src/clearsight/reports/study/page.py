"""The page of a study: one self-contained HTML file in the shape of a run's own page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearsight.reports.document import Document
from clearsight.reports.section import PageSection
from clearsight.reports.study.contours import contours
from clearsight.reports.study.curves import curves
from clearsight.reports.study.facts import StudyReportData
from clearsight.reports.study.front import front
from clearsight.reports.study.history import history
from clearsight.reports.study.importance import importance
from clearsight.reports.study.parallel import parallel
from clearsight.reports.study.provenance import provenance
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
