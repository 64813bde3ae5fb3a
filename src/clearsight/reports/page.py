"""The page of a run: one self-contained HTML file, readable in a minute from the top, printable, offline."""

from __future__ import annotations

from collections.abc import Callable

from clearsight.reports.curves import curves
from clearsight.reports.data import data
from clearsight.reports.document import Document
from clearsight.reports.evaluation import evaluation
from clearsight.reports.facts import RunFacts
from clearsight.reports.provenance import provenance
from clearsight.reports.section import Section
from clearsight.reports.verdict import verdict

# In the order of the page. A section that has nothing to say returns None and is left out.
SECTIONS: tuple[Callable[[RunFacts], Section | None], ...] = (
    verdict,
    curves,
    evaluation,
    data,
    provenance,
)


def run_page(facts: RunFacts) -> str:
    """The page of one run as HTML, under 8 MB whatever the run; the same facts give the same bytes.

    Raises BadValue when the recipe is not a YAML mapping.
    """
    sections = [section for build in SECTIONS if (section := build(facts)) is not None]
    return Document(
        title=facts.name, kind="Run report", badge=facts.status.replace("_", " "), sections=sections
    ).render()
