"""clearsight profile: where the time goes, of a run or of any command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from clearsight.cli.shared import AsJson, table
from clearsight.cli.terminal import Terminal
from clearsight.core.errors import EmptyInput
from clearsight.core.finding import flags

if TYPE_CHECKING:
    from clearsight.workflow.profile import Breakdown
    from clearsight.workflow.speed.try_settings import TriedSettings

_COMMAND = "clearsight.command"  # where the words after `--` wait
_OURS = ("OMP_WAIT_POLICY", "KINETO_LOG_LEVEL", "TORCH_CPP_LOG_LEVEL")  # as `cli.messages` sets them for itself
_INITIAL = Path("/proc/self/environ")
_INJECTED = Path(__file__).parents[1] / "injected"

EPILOG = """Words after -- are a command, whose exit code is the answer's. Its output is left as it is.

Examples:

  clearsight profile runs/first

  clearsight profile -- python train.py --lr 0.1

  clearsight profile --try runs/first

  clearsight profile --out runs/slow --full -- python train.py
"""


class _WithCommand(TyperCommand):
    """Takes everything after the first `--` for a command of the user's, and does not look into it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_COMMAND], args = args[place + 1 :], args[:place]
        return super().parse_args(ctx, args)


def profile(
    ctx: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="run folder, of a run that was profiled", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="run folder of a command \\[default: runs/<script>-<n>]")
    ] = None,
    every: Annotated[float, typer.Option(help="seconds between looks at the machine, 0.1 to 60")] = 0.5,
    try_run: Annotated[
        Path | None,
        typer.Option("--try", metavar="RUN", help="measure other settings for this run, a few dozen steps of each"),
    ] = None,
    steps: Annotated[int, typer.Option(help="with --try: steps of each setting", min=3)] = 24,
    full: Annotated[bool, typer.Option("--full", help="trace a few steps operator by operator too")] = False,
    as_json: AsJson = False,
) -> int:
    """Show where the time of a run went; or run a command, look at the machine and into its training loop meanwhile."""
    command: list[str] | None = ctx.meta.get(_COMMAND)
    if try_run is not None:
        if command is not None or run is not None:
            raise EmptyInput(f"clearsight profile --try {try_run}", "and something else", fix="Name the run alone.")
        return _try(try_run, steps, as_json)
    if command is not None and run is not None:
        raise EmptyInput(f"clearsight profile {run} --", "a run and a command", fix="Name one of the two.")
    if command is not None:
        return _run(command, out, every, full, as_json)
    if run is None:
        raise EmptyInput(
            "clearsight profile",
            "neither a run folder nor a command",
            fix="Write: clearsight profile runs/first, or: clearsight profile -- python train.py",
        )
    return _show(run, as_json)


def _show(run: Path, as_json: bool) -> int:
    from clearsight.workflow.profile import profile_of

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        breakdown = profile_of(run)
    if as_json:
        terminal.result(breakdown.to_json())
    else:
        terminal.say(*breakdown_lines(breakdown))
    return 0


def _try(run: Path, steps: int, as_json: bool) -> int:
    import os

    from clearsight.workflow.paths import Paths
    from clearsight.workflow.run.context import LaunchContext
    from clearsight.workflow.speed.try_settings import try_settings

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        around = LaunchContext(places=Paths.of(os.environ), progress=terminal.progress)
        tried = try_settings(run, steps=steps, around=around)
    if as_json:
        terminal.result(tried.to_json())
    else:
        terminal.say(*tried_lines(tried))
    return 0


def _run(command: list[str], out: Path | None, every: float, full: bool, as_json: bool) -> int:
    from clearsight.workflow.speed.command import profile_command

    # Standard output is the command's; what is ours goes beside it, and JSON below it.
    def begun(folder: Path) -> None:
        print(f"profile  {folder}: the machine every {every:g} s, and the steps of a training loop", file=sys.stderr)

    done = profile_command(
        command, out, environment=_environment(), injected=_INJECTED, every=every, full=full, begun=begun
    )
    print(*breakdown_lines(done.breakdown), sep="\n", file=sys.stderr)
    if done.failure:
        print(f"failure  {done.failure}", file=sys.stderr)
    print(f"report   {done.folder / 'report.html'}", file=sys.stderr)
    if as_json:
        Terminal(as_json=True).result(done.breakdown.to_json())
    return done.code


def _environment() -> dict[str, str]:
    """The environment as it was given to us: what we set for our own sake is not for the command."""
    given = _INITIAL.read_bytes().split(b"\0") if _INITIAL.is_file() else []
    told = {entry.partition(b"=")[0].decode(errors="replace") for entry in given}
    return {name: value for name, value in os.environ.items() if name not in _OURS or name in told or not given}


def breakdown_lines(breakdown: Breakdown) -> list[str]:
    """Where the time went, for people: steps and their phases, the machine, what was found."""
    from clearsight.core.finding import findings_lines

    steps, phases, gauges = breakdown.steps(), breakdown.phases(), breakdown.gauges()
    told = ["steps    none were seen: gauges alone"]
    if steps["count"]:
        told = [
            f"steps    {steps['count']:,.0f}, half of them within {1000 * steps['p50']:.1f} ms, 95 % within "
            f"{1000 * steps['p95']:.1f} ms; {steps['images_per_second']:,.0f} images/s"
        ]
    if phases:
        rows = [
            [name, *(f"{1000 * one[key]:.1f}" for key in ("mean", "p50", "p95")), f"{100 * one['share']:.1f} %"]
            for name, one in phases.items()
        ]
        told += ["", *table(("phase", "mean ms", "p50", "p95", "share"), rows, right=(1, 2, 3, 4))]
    if rows := [[name, *(_number(name, value) for value in one.values())] for name, one in _shown(gauges)]:
        told += ["", *table(("machine", "min", "p50", "p95", "p99", "max"), rows, right=(1, 2, 3, 4, 5))]
    return [*told, "", *findings_lines(breakdown.findings)]


def tried_lines(tried: TriedSettings) -> list[str]:
    """Settings beside each other, the run's own first; and the flags that made the fastest."""
    rows = []
    for row in tried.to_json()["rows"]:
        words = flags(row["settings"]) or "as the run was"
        if row["note"]:
            rows.append([words, "", "", "", "", row["note"]])
            continue
        spread = "" if row["spread"] is None else f"± {100 * row['spread']:.0f} %"
        foretold = "" if row["estimate"] is None else f"{row['estimate']:,.1f}"
        gain = f"{100 * row['gain']:+.0f} %" if row["settings"] else ""
        waited = f"{100 * row['waiting']:.0f} %"
        rows.append([words, f"{row['images_per_second']:,.1f}", spread, gain, foretold, waited])
    head = ("setting", "images/s", "spread", "gain", "estimate", "data wait")
    return [*table(head, rows, right=(1, 2, 3, 4, 5)), "", _advised(tried)]


def _advised(tried: TriedSettings) -> str:
    """What to change, where something is faster than the spread of the measurements explains."""
    own, best = tried.rows[0], tried.rows[1]
    noise = 1 + max(own.spread, best.spread)
    if not best.blocks or best.images_per_second <= own.images_per_second * noise:
        return "next     nothing is faster than the run was, beyond what measurements differ by"
    return f"next     clearsight train ... {flags(best.settings)}"


def _shown(gauges: dict[str, dict[str, float]]) -> list[tuple[str, dict[str, float]]]:
    """The gauges that a person wants first: single cores are in the JSON and in the report."""
    return [(name, one) for name, one in gauges.items() if not (name.startswith("cpu") and name[3:].isdigit())]


def _number(gauge: str, value: float) -> str:
    """A reading as people read it: bytes in MB, the rest as it is."""
    return f"{value / 1e6:,.1f} MB" if abs(value) >= 1e5 and not gauge.endswith("clock") else f"{value:,.4g}"


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG, cls=_WithCommand)(profile)
