"""The page of a run: one self-contained HTML file, readable in a minute from the top, printable, offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearsight.reports.kit.document import Document
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.data import data
from clearsight.reports.run.evaluation import evaluation
from clearsight.reports.run.findings import findings
from clearsight.reports.run.provenance import provenance
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.rules import rules
from clearsight.reports.run.system.section import system
from clearsight.reports.run.training import curves
from clearsight.reports.run.verdict import verdict

# In the order of the page. A section that has nothing to say returns None and is left out.
SECTIONS: tuple[Callable[[RunReportData], PageSection | None], ...] = (
    verdict,
    findings,
    curves,
    evaluation,
    data,
    system,
    rules,
    provenance,
)


def run_page(facts: RunReportData) -> str:
    """The page of one run as HTML, under 8 MB whatever the run; the same facts give the same bytes.

    Raises BadValue when the recipe is not a YAML mapping.
    """
    return page_of(facts, sections_of(facts))


def sections_of(facts: RunReportData) -> list[PageSection]:
    """The sections that have something to say, in order; page and figures are both made of them."""
    return [section for build in SECTIONS if (section := build(facts)) is not None]


def page_of(facts: RunReportData, sections: Sequence[PageSection]) -> str:
    """The page of one run made of its sections."""
    return Document(
        title=facts.name, kind="Run report", badge=facts.status.replace("_", " "), sections=sections
    ).render()
