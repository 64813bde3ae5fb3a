"""clearsight debug: the rules over a run, the tensors in it, and the way to TensorBoard."""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer.core import TyperGroup

from clearsight.cli.shared import AsJson, table
from clearsight.cli.terminal import Terminal
from clearsight.core.finding import Finding, Severity, Verdict, flags

if TYPE_CHECKING:
    from clearsight.core.tensors import Mode
    from clearsight.debugger.storage.saved_tensor import SavedTensor

FOUND = 3  # exit code of --fail-on
_PLOTS = 20  # more at once are noise
_HEAD = ("rule", "verdict", "severity", "value", "steps", "subject")
_COLOURS = {Severity.SEVERE: "\033[31m", Severity.WARNING: "\033[33m", Severity.INFO: "\033[36m"}
_PLAIN = "\033[0m"

EPILOG = """More commands: clearsight debug tensors RUN, clearsight debug export RUN. A folder tensors is ./tensors.

Examples:

  clearsight debug runs/first

  clearsight debug runs/first --rules none --rule "Overfit(patience=3)"

  clearsight debug runs/first --fail-on severe --json

  clearsight debug tensors runs/first --name loss --plot

  clearsight debug export runs/first --tensorboard logs/
"""

RunFolder: TypeAlias = Annotated[Path, typer.Argument(help="run folder", show_default=False)]


class _RulesFirst(TyperGroup):
    """A group that takes words that name none of its commands as those of the command `rules`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["rules", *args]
        return super().parse_args(ctx, args)


def rules(
    run: RunFolder,
    rules: Annotated[str, typer.Option(help="default, all, none, or names of rules, separated by commas")] = "default",
    rule: Annotated[
        list[str] | None,
        typer.Option(help='a rule with parameters, "Overfit(patience=3)", or one of your own, file.py'),
    ] = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="end with exit code 3 where something at least so severe was found")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="show clear and undecided verdicts too")] = False,
    as_json: AsJson = False,
) -> int:
    """Look at a run with the debugger's rules, while it trains or long after: what is wrong, why, what to change."""
    from clearsight.workflow.debug import debug

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        diagnosis = debug(run, rules=rules, rule=list(rule or ()))
    if as_json:
        terminal.result(_finite(diagnosis.to_json()))
    else:
        terminal.say(*finding_lines(diagnosis.findings, everything=everything, colour=sys.stdout.isatty()))
    return FOUND if fail_on is not None and failing(diagnosis.findings, fail_on) else 0


def tensors(
    run: RunFolder,
    name: Annotated[str | None, typer.Option(metavar="REGEX", help="only names in which this is found")] = None,
    collection: Annotated[
        str | None, typer.Option(help="only this one: gradients, weights, losses, scalars ...")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="only what was saved in train, eval or predict")] = None,
    statistic: Annotated[
        str, typer.Option(help="shown of tensors: mean, std, abs_mean, l2, zero_fraction, q50 ...")
    ] = "l2",
    plot: Annotated[bool, typer.Option("--plot", help="draw each as a curve over the steps")] = False,
    as_json: AsJson = False,
) -> int:
    """List what was saved of a run, name by name, with the last value (of a tensor: a statistic); or draw it."""
    from clearsight.workflow.open import open_run

    terminal, trial = Terminal(as_json=as_json), open_run(run)
    found = [trial.tensor(one) for one in trial.tensor_names(name, collection, mode)]
    chosen = [(tensor, at) for tensor in found for at in tensor.modes() if mode in (None, at)]
    if as_json:
        terminal.result(_finite({"tensors": [_told(tensor, at, statistic, series=plot) for tensor, at in chosen]}))
    elif not chosen:
        terminal.say("nothing was saved that is meant by this")
    elif plot:
        terminal.say(*_plots(chosen, statistic))
    else:
        told = [_told(tensor, at, statistic, series=False) for tensor, at in chosen]
        rows = [
            [t["name"], t["collection"], t["mode"], f"{t['points']:,}", _span(t), f"{t['value']:.4g}"] for t in told
        ]
        terminal.say(*table(("name", "collection", "mode", "points", "steps", "last"), rows, right=(3, 5)))
    return 0


def export(
    run: RunFolder,
    tensorboard: Annotated[Path, typer.Option(metavar="DIR", help="write event files for TensorBoard here")],
) -> int:
    """Write what was saved of a run for other programs."""
    from clearsight.workflow.open import open_run

    terminal = Terminal(as_json=False)
    for folder in open_run(run).to_tensorboard(tensorboard):
        terminal.say(f"events   {folder}")
    return 0


def failing(findings: Sequence[Finding], border: Severity) -> bool:
    """Whether something at least as severe as `border` was found."""
    return any(finding.found and finding.severity.rank <= border.rank for finding in findings)


def finding_lines(findings: Sequence[Finding], *, everything: bool = False, colour: bool = False) -> list[str]:
    """Findings for people: a table with the cause and the fix below each row, and a line of counts."""
    shown = [finding for finding in findings if finding.found or everything]
    lines: list[str] = []
    if shown:
        head, *rows = table(_HEAD, [_row(finding) for finding in shown])
        lines.append(head)
        for finding, row in zip(shown, rows, strict=True):
            lines.append(f"{_COLOURS[finding.severity]}{row}{_PLAIN}" if colour and finding.found else row)
            lines += [f"    {line}" for line in _reasons(finding)]
        lines.append("")
    return [*lines, _counts(findings)]


def _row(finding: Finding) -> tuple[str, ...]:
    value = "" if finding.value is None else f"{finding.value:.4g} {finding.unit}".rstrip()
    if value and finding.threshold is not None:
        value = f"{value} (border {finding.threshold:.4g})"
    steps = "" if finding.steps is None else f"{finding.steps[0]}-{finding.steps[1]}"
    rule = finding.rule if finding.group in ("", finding.rule) else f"  {finding.rule}"
    severity = finding.severity.value if finding.found else ""
    return (rule, finding.verdict.value.replace("-", " "), severity, value, steps, finding.subject)


def _reasons(finding: Finding) -> list[str]:
    named = (("cause", finding.cause), ("fix", flags(finding.fix)), ("advice", finding.advice))
    return [f"{name:<6}  {text}" for name, text in named if text]


def _counts(findings: Sequence[Finding]) -> str:
    number = Counter(finding.verdict for finding in findings)
    parts = [f"{number[verdict]} {verdict.value.replace('-', ' ')}" for verdict in Verdict if number[verdict]]
    return f"verdicts {', '.join(parts) or 'none: no rule was asked'}"


def _told(tensor: SavedTensor, mode: Mode, statistic: str, *, series: bool) -> dict[str, Any]:
    steps = tensor.steps(mode)
    told: dict[str, Any] = {"name": tensor.name, "collection": tensor.collection, "mode": mode, "points": len(steps)}
    told |= {"first": steps[0], "last": steps[-1]}
    if tensor.scalars.get(mode):
        return (
            told
            | {"statistic": None, "value": tensor.value(steps[-1], mode)}
            | _series(tensor, mode, statistic, series)
        )
    value = tensor.reduction(statistic, mode, [steps[-1]])[steps[-1]]
    return told | {"statistic": statistic, "value": value} | _series(tensor, mode, statistic, series)


def _series(tensor: SavedTensor, mode: Mode, statistic: str, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {}
    values = tensor.curve(mode, statistic)
    return {"steps": list(values), "values": list(values.values())}


def _plots(chosen: Sequence[tuple[SavedTensor, Mode]], statistic: str) -> list[str]:
    from clearsight.cli.plot import plot

    width = shutil.get_terminal_size().columns
    fancy = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    lines: list[str] = []
    for tensor, mode in chosen[:_PLOTS]:
        values = tensor.curve(mode, statistic)
        title = f"{tensor.name}, {mode}" if tensor.scalars.get(mode) else f"{tensor.name}, {statistic}, {mode}"
        lines += [title, *plot(list(values), list(values.values()), width, 12, unicode=fancy), ""]
    if len(chosen) > _PLOTS:
        lines.append(f"{_PLOTS} of {len(chosen)} are drawn; --name, --collection and --mode choose others")
    return lines


def _span(told: Mapping[str, Any]) -> str:
    return f"{told['first']}-{told['last']}"


def _finite(value: Any) -> Any:
    """The value with null where a number is not finite: JSON has no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


app = typer.Typer(add_completion=False, rich_markup_mode="rich", cls=_RulesFirst)
app.command(epilog=EPILOG)(rules)
app.command()(tensors)
app.command()(export)
