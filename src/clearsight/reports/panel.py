"""A chart on a page: its figure, what it shows in words, and the table of the same numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
from markupsafe import Markup

from clearsight.reports.table import Table


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
