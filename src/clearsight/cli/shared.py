"""Parts that several commands share: options of the same name and meaning, the typer app, and tables of text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from clearsight.cli.short_help import short_help, with_help_all
from clearsight.core.errors import BadChoice
from clearsight.core.recipe import DataSection
from clearsight.core.safe_text import printable_line

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="print the result as JSON on stdout, everything else on stderr")
]


def latest_of(*parents: str, with_model: bool = False) -> Callable[[Any], Any]:
    """Return the callback of an argument that turns the path "last" into the newest run or study below `parents`."""

    def resolve(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [resolve(item) for item in value]
        if value is None or str(value) != "last" or Path("last").exists():
            return value
        from clearsight.workflow.paths import latest

        path = latest(parents, with_model=with_model)
        print(printable_line(f"last     {path}"), file=sys.stderr)
        return path

    return resolve


Model: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help="run folder, bundle folder, packed bundle, or last",
        show_default=False,
        callback=latest_of("runs", with_model=True),
    ),
]
RunFolder: TypeAlias = Annotated[
    Path, typer.Argument(help="run folder, or last", show_default=False, callback=latest_of("runs"))
]
RunOrStudy: TypeAlias = Annotated[
    Path, typer.Argument(help="run or study folder, or last", show_default=False, callback=latest_of("runs", "studies"))
]
Runs: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="RUN RUN...", help="2 to 12 run folders", show_default=False, callback=latest_of("runs")),
]
OptionalRun: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        help="run folder of a run that was profiled, or last", show_default=False, callback=latest_of("runs")
    ),
]
ResumedRun: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="RUN", help="continue the run in this folder, or the last one", callback=latest_of("runs")
    ),
]
ResumedStudy: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="STUDY",
        help="continue the study in this folder, or the last",
        callback=latest_of("studies"),
    ),
]
Trust: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--trust", help="run the rule files and notices that a recipe file or a saved run names: they are code"
    ),
]
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
    essential: Sequence[str] = (),
) -> typer.Typer:
    """Return the app of a command. epilog: the end of its --help, with an indented line for each example.

    essential: the parameters that --help lists, where --help-all lists the others; empty for all of them.
    """
    if essential:
        command, cls = with_help_all(command), short_help(essential)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", cls=group)
    app.command(epilog=epilog, cls=cls, context_settings={"help_option_names": ["--help", "-h"]})(command)
    return app


def check_resume_alone(kept: str, arguments: Mapping[str, object], allowed: Sequence[str]) -> None:
    """Raise BadChoice for arguments that a run or study which is continued has already.

    kept: the reason.  arguments: by their names; empty values were not given.
    """
    if given := [name for name, value in arguments.items() if value]:
        raise BadChoice("--resume", f"{kept}, so {', '.join(given)} cannot be used with it", allowed=allowed)
