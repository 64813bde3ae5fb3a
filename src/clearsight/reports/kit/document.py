"""A page as one file: sections, style, and the chart library inside it; opening it asks the network for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clearsight.reports.kit.section import PageSection


@dataclass(frozen=True, kw_only=True)
class Document:
    """title: the heading of the page.  kind: what sort of page it is.  badge: a word beside the title, or ""."""

    title: str
    kind: str
    sections: Sequence[PageSection]
    badge: str = ""

    def render(self) -> str:
        """The page as HTML."""
        templates = _environment()
        parts = [
            (section, Markup(templates.get_template(section.template).render(panels=section.panels, **section.values)))
            for section in self.sections
        ]
        charts = any(section.panels for section in self.sections)
        return templates.get_template("document.html").render(
            document=self,
            parts=parts,
            style=_asset("style.css"),
            scripts=[_asset(name) for name in self._scripts(charts)],
            plotly=_plotly() if charts else "",
        )

    def _scripts(self, charts: bool) -> list[str]:
        wanted = [name for section in self.sections for name in section.scripts]
        return list(dict.fromkeys([*(["figures.js"] if charts else []), *wanted]))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("clearsight.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> Markup:
    """A file of templates/ as it is: our own text, nothing of the user's in it."""
    return Markup(files("clearsight.reports").joinpath("templates", name).read_text(encoding="utf-8"))


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs

    # The library holds no closing script tag today; one in a later version must not end the element early.
    return Markup(get_plotlyjs().replace("</script", "<\\/script"))
