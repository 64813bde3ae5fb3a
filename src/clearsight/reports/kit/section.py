"""One part of a page: a heading, and a template of its own with the values it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import plotly.graph_objects as go
from markupsafe import Markup

from clearsight.core.errors import BadShape


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """key: anchor on the page.  template: file under templates/.  values: what the template may name.

    panels: the charts in it; the template gets them as `panels`.  tables: those in it that stand without a chart, as
    `values` holds them too.  scripts: files under templates/ that the part runs.
    """

    key: str
    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """key: unique on the page.  says: one sentence for who cannot see the figure.  wide: takes a row of its own.

    unfolded: the table stands open under the figure, because people come for its numbers.
    """

    key: str
    title: str
    says: str
    figure: go.Figure
    table: Table
    note: str = ""
    wide: bool = False
    unfolded: bool = False

    @property
    def height(self) -> int:
        """Pixels, known before the figure is drawn so that the page does not jump."""
        return int(self.figure.layout.height)

    @property
    def json(self) -> Markup:
        """The figure as JSON that may stand inside a script element: no <, > or & in it."""
        text = self.figure.to_json(validate=False)
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return Markup(text)


@dataclass(frozen=True)
class Table:
    """Cells already in words; the first of each row names it.

    align: one letter per column, l for words and r for numbers.
    """

    caption: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        wanted = len(self.columns)
        if len(self.align) != wanted or any(len(row) != wanted for row in self.rows):
            raise BadShape(f"table {self.caption!r}", f"every row and `align` must have {wanted} cells")

    def side(self, column: int) -> Literal["words", "number"]:
        """Which side the cells of a column stand on, as a CSS class."""
        return "number" if self.align[column] == "r" else "words"


def table(caption: str, columns: Sequence[str], align: str, rows: Iterable[Sequence[object]]) -> Table:
    """A Table of anything that can be written."""
    return Table(caption, tuple(columns), align, tuple(tuple(str(cell) for cell in row) for row in rows))
