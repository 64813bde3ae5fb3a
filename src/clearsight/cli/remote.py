"""--on PLACE and --remote NAME=VALUE: commands that submit their work instead of doing it on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from clearsight.core.errors import BadChoice, BadValue
from clearsight.workflow.display.terminal import Terminal

if TYPE_CHECKING:
    from clearsight.workflow.remote.place import RemoteResult
    from clearsight.workflow.remote.submit import Submission

On: TypeAlias = Annotated[
    str, typer.Option(metavar="PLACE", help="train there instead of on this machine: local, or sagemaker")
]
RemoteOptions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--remote", metavar="NAME=VALUE", help="option of the place of --on; may be repeated"),
]


def goes_elsewhere(on: str, options: Sequence[str] | None) -> bool:
    """Return True if a command submits its work to a place. Raises BadChoice for a place that is not there.

    Raises BadValue for options without a place.
    """
    from clearsight.workflow.remote.place import REMOTES
    from clearsight.workflow.remote.submit import is_remote

    if is_remote(on):
        return True
    if on not in ("", "local"):
        raise BadChoice(f"--on {on}", "no such place", got=on, allowed=("local", *REMOTES.names()))
    check_no_options(options)
    return False


def check_no_options(options: Sequence[str] | None) -> None:
    """Raise BadValue for options of a place where the work is not submitted to one."""
    if options:
        raise BadValue(f"--remote {options[0]}", "it belongs to a place", fix="Add --on PLACE, or leave it out.")


def check_unused(arguments: Mapping[str, object], on: str) -> None:
    """Raise BadValue for the first of these arguments that was given, by its flag."""
    for flag, value in arguments.items():
        if value:
            raise BadValue(flag, f"it cannot be used with --on {on}", fix=f"Leave out {flag}, or --on.")


@contextmanager
def submission(
    on: str, data: str | None, out: Path | None, options: Sequence[str] | None, *, trust: bool, **recipe: Any
) -> Iterator[Submission]:
    """Yield what a command submits. trust: code that a recipe file names may run.  recipe: fields of Submission."""
    from clearsight.workflow.paths import Paths, new_folder
    from clearsight.workflow.remote.submit import Submission, parse_options

    if data is None:
        raise BadValue(f"--on {on}", "no data", fix=f"For example: clearsight train photos/ --on {on}.")
    recipe |= {"paths": Paths.of(os.environ), "options": parse_options(options or ())}
    with new_folder(out, "runs", data, "run") as folder:
        yield Submission(place=on, data=data, out=folder, trusted=None if trust else (), **recipe)


def print_remote(terminal: Terminal, result: RemoteResult) -> int:
    """Print what became of a submission; return the exit code of the command."""
    lines = list(result.lines)
    if result.run is not None:
        from clearsight.core.run import Run
        from clearsight.workflow.messages import end_lines

        lines = [*end_lines(Run.open(result.run)), *lines]
    terminal.print_result(dict(result.values), lines)
    return result.exit_code
