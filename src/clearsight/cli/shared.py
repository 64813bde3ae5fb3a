"""Parts that several commands share: options of the same name and meaning, the typer app, and tables of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from clearsight.core.errors import BadChoice
from clearsight.core.recipe import DataSection

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="print the result as JSON on stdout, everything else on stderr")
]
Model: TypeAlias = Annotated[
    Path, typer.Argument(help="run folder, bundle folder or packed bundle", show_default=False)
]
RunFolder: TypeAlias = Annotated[Path, typer.Argument(help="run folder", show_default=False)]
Device: TypeAlias = Annotated[str, typer.Option(help="cpu, cuda or cuda:N")]
MaxPixels: TypeAlias = Annotated[int, typer.Option(help="refuse images with more pixels than this", min=1)]

MAX_PIXELS: int = DataSection.model_fields["max_pixels"].default


class PageFormat(StrEnum):
    """File format of a page: html is self-contained with live charts, pdf the same on paper."""

    HTML = "html"
    PDF = "pdf"


Format: TypeAlias = Annotated[
    PageFormat, typer.Option("--format", help="html, or pdf, which needs Chromium or Chrome", show_choices=False)
]
Browser: TypeAlias = Annotated[
    str | None,
    typer.Option("--browser", metavar="PATH", help="browser that prints the pdf \\[default: Chromium or Chrome]"),
]


def command_app(
    command: Callable[..., Any],
    epilog: str,
    *,
    cls: type[TyperCommand] | None = None,
    group: type[TyperGroup] | None = None,
) -> typer.Typer:
    """Return the app of a command. epilog: the end of its --help, with an indented line for each example."""
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", cls=group)
    # Typer joins lines that no blank line separates.
    app.command(epilog=epilog.replace("\n  ", "\n\n  "), cls=cls)(command)
    return app


def check_resume_alone(kept: str, arguments: Mapping[str, object], allowed: Sequence[str]) -> None:
    """Raise BadChoice for arguments that a run or study which is continued has already.

    kept: the reason.  arguments: by their names; empty values were not given.
    """
    if given := [name for name, value in arguments.items() if value]:
        raise BadChoice("--resume", f"{kept}, so {', '.join(given)} cannot be used with it", allowed=allowed)
