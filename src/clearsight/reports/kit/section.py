"""Building blocks of a page: sections with a template each, and the charts, tables and notices inside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import plotly.graph_objects as go
from markupsafe import Markup

from clearsight.core.errors import BadShape
from clearsight.core.files import finite_json
from clearsight.core.format import several
from clearsight.reports.kit.format import status_tone

_STATUS = {"status", "state"}  # names of rows and columns whose cells are coloured
PATHS_LISTED = 50  # of a notice; more are counted
# The JSON has tables by caption. A caption that was changed keeps its old key beside the new one.
_OLD_CAPTIONS = {"All rules": "Every rule that was asked"}


@dataclass(frozen=True)
class Table:
    """Table of cells that are text already; the first cell of each row names the row.

    align: one letter per column, l for words and r for numbers.
    Raises BadShape where a row or `align` has another length than `columns`.
    """

    caption: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        # Checked here, because a template would silently shift the cells of a short row.
        width = len(self.columns)
        if len(self.align) != width or any(len(row) != width for row in self.rows):
            raise BadShape(f"table {self.caption!r}", f"every row and `align` must have {width} cells")

    def side(self, column: int) -> Literal["words", "number"]:
        """Return the CSS class that aligns the cells of a column."""
        return "number" if self.align[column] == "r" else "words"

    def tone(self, row: Sequence[str], column: int) -> str:
        """Return the CSS class of a cell that has a status, in a row or column of that name; "" for any other cell."""
        return status_tone(row[column]) if _STATUS & {row[0], self.columns[column]} else ""

    def to_json(self) -> dict[str, Any]:
        """Return {"columns", "rows"}."""
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}


def table(caption: str, columns: Sequence[str], align: str, rows: Iterable[Sequence[object]]) -> Table:
    """Return a Table of any values, each converted to text by `str`."""
    return Table(caption, tuple(columns), align, tuple(tuple(str(cell) for cell in row) for row in rows))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Chart with its title and the table of its numbers.

    key: unique on the page.  description: one sentence for readers who cannot see the figure.  note: caption below it.
    wide: takes the whole width.  least_width: pixels under which the chart is scrolled sideways; 0 for any.
    unfolded: the table is open, because readers come for its numbers.
    """

    key: str
    title: str
    description: str
    figure: go.Figure
    table: Table
    note: str = ""
    wide: bool = False
    least_width: int = 0
    unfolded: bool = False

    @property
    def height(self) -> int:
        """Height in pixels. It is known before the figure is drawn, so that the page does not jump."""
        return int(self.figure.layout.height)

    @property
    def json(self) -> Markup:
        """Figure as JSON without <, > and &, so that it can stand inside a script element."""
        text = self.figure.to_json(validate=False)  # it was validated when it was built
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return Markup(text)

    def to_json(self) -> dict[str, Any]:
        """Return {"title", "says", "figure": of Plotly, "table"}; a number that is not finite becomes None."""
        return {
            "title": self.title,
            "says": self.description,  # the key is part of the format; see docs/report.md
            "figure": finite_json(json.loads(self.json)),
            "table": self.table.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """Section of a page: a heading, and a template with the values that it shows.

    key: anchor on the page.  template: path below templates/.  values: names that the template may use.
    panels: charts of the section; the template gets them as `panels`.  tables: tables without a chart, for the JSON;
    the template finds them in `values`.  scripts: files below templates/kit/ that the section needs.
    """

    key: str
    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    scripts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return {"title", "panels": {key: panel}, "tables": {caption: table}}."""
        tables = {table.caption: table.to_json() for table in self.tables}
        return {
            "title": self.title,
            "panels": {panel.key: panel.to_json() for panel in self.panels},
            "tables": tables | {old: tables[new] for new, old in _OLD_CAPTIONS.items() if new in tables},
        }


def panels_section(key: str, title: str, panels: Sequence[Panel], about: str = "") -> PageSection:
    """Return a section of charts alone, with a sentence above them if `about` is given."""
    return PageSection(key=key, title=title, template="kit/panels.html", values={"about": about}, panels=tuple(panels))


def table_section(key: str, title: str, content: Table, *, about: str = "", note: str = "") -> PageSection:
    """Return a section of one table, with a sentence above it and a note below it if they are given."""
    values = {"about": about, "table": content, "note": note}
    return PageSection(key=key, title=title, template="kit/table.html", values=values)


def notice_values(notice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notice about the data as the templates show it, with its first PATHS_LISTED paths.

    notice: {"code", "text", "paths"}; "paths" may be missing.
    """
    # Of 100,000 corrupt files the first fifty show the pattern.
    paths = [str(path) for path in notice.get("paths", ())]
    return {
        "code": notice["code"],
        "text": notice["text"],
        "paths": paths[:PATHS_LISTED],
        "about": several(len(paths), "image"),
        "left": max(0, len(paths) - PATHS_LISTED),
    }
