"""HTML pages in one file: sections, style and the chart library are inside, so a page opens without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clearsight.core.files import finite_json, write_text
from clearsight.core.finding import flags
from clearsight.reports.kit.format import status_tone
from clearsight.reports.kit.section import PageSection

Data = TypeVar("Data")


class Page(Generic[Data]):
    """A page that shows `data`. A subclass declares its kind, and its sections in the order of reading.

    title: heading.  badge: word beside it, such as the status; "" for none.
    A section is built by a function of the data. It returns None when it has nothing to show; the page then has no such
    section.
    """

    kind: ClassVar[str]
    SECTIONS: ClassVar[tuple[Callable[[Any], PageSection | None], ...]]

    def __init__(self, data: Data, *, title: str, badge: str = "") -> None:
        self.data, self.title, self.badge = data, title, badge

    @cached_property
    def sections(self) -> list[PageSection]:
        """Sections that have something to show, built once: charts are costly, and HTML and JSON share them."""
        return [section for build in self.SECTIONS if (section := build(self.data)) is not None]

    def values(self) -> dict[str, Any]:
        """Return what the JSON of the page holds beside the sections."""
        return {"name": self.title}

    def render(self) -> str:
        """Return the page as HTML. The same data give the same bytes."""
        return render_document(title=self.title, kind=self.kind, sections=self.sections, badge=self.badge)

    def to_json(self) -> dict[str, Any]:
        """Return {**values, "sections": {key: section}} with every figure and table of the page, without NaN."""
        return {**finite_json(self.values()), "sections": {section.key: section.to_json() for section in self.sections}}

    def write(self, html: Path, numbers: Path) -> None:
        """Write the page to the file `html` and its JSON to the file `numbers`."""
        write_text(html, self.render())
        write_text(numbers, json.dumps(self.to_json(), allow_nan=False) + "\n")


def render_document(*, title: str, kind: str, sections: Sequence[PageSection], badge: str = "") -> str:
    """Return an HTML document. kind: what sort of page it is.  badge: word beside the title, or ""."""
    templates = _environment()
    parts = [
        (section, Markup(templates.get_template(section.template).render(panels=section.panels, **section.values)))
        for section in sections
    ]
    has_charts = any(section.panels for section in sections)
    scripts = [*(["figures.js"] if has_charts else []), *(name for section in sections for name in section.scripts)]
    return templates.get_template("kit/document.html").render(
        title=title,
        kind=kind,
        badge=badge,
        parts=parts,
        style=_asset("style.css"),
        # Two sections may need the same script; running it twice would add two copy buttons.
        scripts=[_asset(name) for name in dict.fromkeys(scripts)],
        # The library is 1.5 MB: a page without charts does without it.
        plotly=_plotly() if has_charts else "",
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clearsight.reports"),
        # Class names and paths come from the user's data and may hold markup.
        autoescape=True,
        # A misspelled value is an error in the tests, not an empty place on somebody's page.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["flags"] = flags
    environment.filters["status_tone"] = status_tone
    return environment


def _asset(name: str) -> Markup:
    """Return a style sheet or script of templates/kit unescaped. It is our own text and holds nothing of the user's."""
    return Markup(files("clearsight.reports").joinpath("templates", "kit", name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    """Return the part of plotly.js that draws our charts: bars, lines, points, heatmaps and contours."""
    # The whole library is 4.8 MB, three times as much, for maps and 3D charts that no page has.
    library = files("clearsight.reports").joinpath("vendor", "plotly-cartesian.min.js").read_text(encoding="utf-8")
    # It holds no closing script tag today; one in a later version must not end the element early.
    return Markup(library.replace("</script", "<\\/script"))
