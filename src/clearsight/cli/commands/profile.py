"""clearsight profile: where the time goes, in a run or in any command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from clearsight.cli.messages import SET_BY_CLI
from clearsight.cli.shared import AsJson, OptionalRun, command_app, latest_of
from clearsight.core.errors import EmptyInput
from clearsight.core.finding import flags
from clearsight.core.format import rate
from clearsight.core.run import Run
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.display.text import breakdown_lines, table

if TYPE_CHECKING:
    from clearsight.workflow.speed.try_settings import TriedSettings

_COMMAND = "clearsight.command"  # key of the words after `--` in the context of typer
_INJECTED = Path(__file__).parents[1] / "injected"

EPILOG = """The words after -- are the command. Its output is not changed, and its exit code is returned.

Examples:
  clearsight profile runs/first
  clearsight profile -- python train.py --lr 0.1
  clearsight profile --try runs/first
  clearsight profile --out runs/slow --full -- python train.py
"""


class _WithCommand(TyperCommand):
    """Takes the words after the first `--` as the user's command, and does not parse them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            index = args.index("--")
            ctx.meta[_COMMAND], args = args[index + 1 :], args[:index]
        return super().parse_args(ctx, args)


def profile(
    ctx: typer.Context,
    run: OptionalRun = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="run folder for a command \\[default: runs/<script>-<n>]")
    ] = None,
    every: Annotated[float, typer.Option(help="seconds between samples of the machine, 0.1 to 60")] = 0.5,
    try_run: Annotated[
        Path | None,
        typer.Option(
            "--try",
            metavar="RUN",
            help="measure other settings for this run, a few steps of each",
            callback=latest_of("runs"),
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="with --try: steps of each setting", min=3)] = 24,
    full: Annotated[bool, typer.Option("--full", help="also trace a few steps operator by operator")] = False,
    as_json: AsJson = False,
) -> int:
    """Show where the time of a run went; or run a command and measure the machine and the command's training loop."""
    command: list[str] | None = ctx.meta.get(_COMMAND)
    if try_run is not None:
        if command is not None or run is not None:
            fix = "Name the run only once, after --try."
            raise EmptyInput(f"clearsight profile --try {try_run}", "it takes no other run and no command", fix=fix)
        return _try(try_run, steps, as_json)
    if command is not None and run is not None:
        fix = "Remove one of the two."
        raise EmptyInput(f"clearsight profile {run} --", "a run folder and a command cannot be used together", fix=fix)
    if command is not None:
        return _run(command, out, every, full, as_json)
    if run is None:
        fix = "Write: clearsight profile runs/first, or: clearsight profile -- python train.py"
        raise EmptyInput("clearsight profile", "neither a run folder nor a command", fix=fix)
    return _show(run, as_json)


def _show(run: Path, as_json: bool) -> int:
    from clearsight.workflow.profile import profile_of

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        breakdown = profile_of(run)
    terminal.print_result(breakdown.to_json(), breakdown_lines(breakdown))
    return 0


def _try(run: Path, steps: int, as_json: bool) -> int:
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.checks import check_resume
    from clearsight.workflow.run.context import LaunchContext

    check_resume(Run.open(run), None)
    from clearsight.workflow.speed.try_settings import try_settings  # loads torch, after the mistakes that need none

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        launch = LaunchContext(paths=Paths.of(os.environ), progress=terminal.progress)
        tried = try_settings(run, steps=steps, launch=launch)
    terminal.print_result(tried.to_json(), tried_lines(tried))
    return 0


def _run(command: list[str], out: Path | None, every: float, full: bool, as_json: bool) -> int:
    from clearsight.workflow.speed.command import CommandOptions, profile_command

    def show(*lines: str) -> None:
        # stdout belongs to the command: our lines go to stderr, and the JSON follows the command's output.
        print(*map(printable_line, lines), sep="\n", file=sys.stderr)

    def show_start(folder: Path) -> None:
        show(f"profile  {folder}: samples every {every:g} s, and the steps of a training loop")

    options = CommandOptions(every=every, full=full)
    environment = {name: value for name, value in os.environ.items() if name not in SET_BY_CLI}
    profiled = profile_command(
        command, out, environment=environment, injected=_INJECTED, options=options, on_start=show_start
    )
    show(*breakdown_lines(profiled.breakdown))
    if profiled.failure:
        show(f"failure  {profiled.failure}")
    show(f"report   {profiled.folder / 'report.html'}")
    if as_json:
        Terminal(as_json=True).print_json(profiled.breakdown.to_json())
    return profiled.code


def tried_lines(tried: TriedSettings) -> list[str]:
    """Return the table of tried settings, those of the run first, and the flags of the fastest."""
    rows = []
    for row in tried.to_json()["rows"]:
        settings = flags(row["settings"]) or "as the run was"
        if row["note"]:
            rows.append([settings, "", "", "", "", row["note"]])
            continue
        spread = "" if row["spread"] is None else f"± {100 * row['spread']:.0f} %"
        estimate = "" if row["estimate"] is None else rate(row["estimate"])
        gain = f"{100 * row['gain']:+.0f} %" if row["settings"] else ""
        rows.append([settings, rate(row["images_per_second"]), spread, gain, estimate, f"{100 * row['waiting']:.0f} %"])
    head = ("setting", "images/s", "spread", "gain", "estimate", "data wait")
    return [*table(head, rows, right=range(1, 6)), "", _next_line(tried)]


def _next_line(tried: TriedSettings) -> str:
    """Return the flags of the fastest settings, if they gain more than the measurements differ."""
    base, best = tried.rows[0], tried.rows[1]
    noise = 1 + max(base.spread, best.spread)
    if not best.blocks or best.images_per_second <= base.images_per_second * noise:
        return "next     nothing is faster than the run's own settings by more than the measurements differ"
    return f"next     clearsight train ... {flags(best.settings)}"


app = command_app(profile, EPILOG, cls=_WithCommand)
