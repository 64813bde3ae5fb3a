"""Options of commands that write a page: in which format, and printed by which browser."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


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
