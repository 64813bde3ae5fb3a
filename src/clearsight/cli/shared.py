"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="print the result as JSON, everything else to stderr")]
Model: TypeAlias = Annotated[
    Path, typer.Argument(help="run folder, bundle folder or packed bundle", show_default=False)
]


_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """A line for the head and one per row. right: the columns that are set flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        put = (
            f"{cell:>{w}}" if i in right else f"{cell:<{w}}"
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return _GAP.join(put).rstrip()

    return [line(head), *map(line, rows)]


class PageFormat(StrEnum):
    """html: one self-contained page, live charts.  pdf: the same on paper, printed by Chromium."""

    HTML = "html"
    PDF = "pdf"


Format: TypeAlias = Annotated[
    PageFormat, typer.Option("--format", help="html, or pdf: printed by Chromium", show_choices=False)
]
Browser: TypeAlias = Annotated[
    str | None,
    typer.Option("--browser", metavar="PATH", help="the browser that prints pdf \\[default: Chromium or Chrome]"),
]
