"""clearsight debug: the rules over a run, the tensors in it, and its export to TensorBoard."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from clearsight.cli.shared import AsJson, RunFolder, command_app
from clearsight.core.finding import Severity
from clearsight.workflow.display.terminal import Terminal, shows_unicode
from clearsight.workflow.display.text import diagnosis_lines, table

if TYPE_CHECKING:
    from clearsight.workflow.debug import SavedSeries

FOUND = 3  # exit code of --fail-on, apart from 1 and 2, so that a script can tell a finding from an error
_MAX_PLOTS = 20  # more curves scroll past unread
_PLOT_HEIGHT = 12  # lines

EPILOG = """More commands: clearsight debug tensors RUN, clearsight debug export RUN. Write a run folder called tensors
as ./tensors.

Examples:
  clearsight debug runs/first
  clearsight debug runs/first --rules none --rule "Overfit(patience=3)"
  clearsight debug runs/first --fail-on severe --json
  clearsight debug tensors runs/first --name loss --plot
  clearsight debug export runs/first --tensorboard logs/
"""


class _RulesFirst(TyperGroup):
    """Group whose command `rules` also runs without its name, so that `clearsight debug RUN` works."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["rules", *args]
        return super().parse_args(ctx, args)


def rules(
    run: RunFolder,
    rules: Annotated[str, typer.Option(help="default, all, none, or names of rules separated by commas")] = "default",
    rule: Annotated[
        list[str] | None,
        typer.Option(help='a rule with parameters, "Overfit(patience=3)", or your own in a file, my_rule.py'),
    ] = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="exit with code 3 if a finding has at least this severity")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="also show rules that are clear or lack data")] = False,
    as_json: AsJson = False,
) -> int:
    """Check a run with the rules of the debugger, during its training or later: problems, causes, fixes."""
    from clearsight.workflow.debug import debug

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        diagnosis = debug(run, rules=rules, rule=list(rule or ()))
    lines = diagnosis_lines(diagnosis.findings, everything=everything, colour=sys.stdout.isatty())
    terminal.print_result(diagnosis.to_json(), lines)
    return FOUND if fail_on is not None and diagnosis.at_least(fail_on) else 0


def tensors(
    run: RunFolder,
    name: Annotated[
        str | None, typer.Option(metavar="REGEX", help="only names that match this regular expression")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="only this collection: gradients, weights, losses, scalars ...")
    ] = None,
    # Text and not a choice of typer: the error of the run has the nearest name.
    mode: Annotated[str | None, typer.Option(help="only what was saved in this mode: train, eval or predict")] = None,
    statistic: Annotated[
        str, typer.Option(help="statistic of tensors: mean, std, abs_mean, l2, zero_fraction, q50 ...")
    ] = "l2",
    plot: Annotated[bool, typer.Option("--plot", help="draw each as a curve over the steps")] = False,
    as_json: AsJson = False,
) -> int:
    """List the tensors and scalars that were saved in a run, each with its last value; or draw them as curves."""
    from clearsight.workflow.debug import saved_series

    terminal = Terminal(as_json=as_json)
    found = saved_series(run, name=name, collection=collection, mode=mode, statistic=statistic)
    if as_json:
        terminal.print_json({"tensors": [series.to_json(series=plot) for series in found]})
    elif not found:
        terminal.print("nothing that was saved matches")
    elif plot:
        terminal.print(*_plots(found))
    else:
        head = ("name", "collection", "mode", "points", "steps", "last")
        terminal.print(*table(head, [_tensor_row(series) for series in found], right=(3, 5)))
    return 0


def export(
    run: RunFolder,
    tensorboard: Annotated[Path, typer.Option(metavar="DIR", help="write event files for TensorBoard to this folder")],
) -> int:
    """Export what was saved in a run to other programs."""
    from clearsight.workflow.results.saved import OpenedRun

    terminal = Terminal(as_json=False)
    for folder in OpenedRun(run).to_tensorboard(tensorboard):
        terminal.print(f"events   {folder}")
    return 0


def _tensor_row(series: SavedSeries) -> tuple[str, ...]:
    steps = series.steps
    span = f"{steps[0]}-{steps[-1]}"
    return (series.tensor.name, series.tensor.collection, series.mode, f"{len(steps):,}", span, f"{series.last():.4g}")


def _plots(found: Sequence[SavedSeries]) -> list[str]:
    from clearsight.cli.plot import plot

    width = shutil.get_terminal_size().columns
    lines: list[str] = []
    for series in found[:_MAX_PLOTS]:
        title = ", ".join(part for part in (series.tensor.name, series.statistic, series.mode) if part)
        curve = plot(list(series.values().items()), width, _PLOT_HEIGHT, unicode=shows_unicode())
        lines += [title, *curve, ""]
    if len(found) > _MAX_PLOTS:
        lines.append(f"{_MAX_PLOTS} of {len(found)} curves; choose others with --name, --collection and --mode")
    return lines


# The group adds `rules` first: its help is that of `clearsight debug`.
app = command_app(rules, EPILOG, group=_RulesFirst)
app.command()(tensors)
app.command()(export)
