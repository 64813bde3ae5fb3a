"""Screen of `clearsight watch`: a running training on one screen, on wide terminals and narrow ones."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from clearsight.cli.plot import plot
from clearsight.core.events import RunStatus
from clearsight.core.format import duration, size, speed
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import shows_unicode
from clearsight.workflow.live import LiveRun

_LABEL_WIDTH = 9  # columns of a line's label
_TWO_CURVES = 72  # columns from which there is room for two curves side by side
_MAX_HEIGHT, _MIN_HEIGHT = 14, 6  # lines of a curve
_SILENT = 60.0  # seconds without output after which the screen says so; a slow epoch writes more often
_MAX_POINTS = 400  # of a curve: more than any terminal has dots
_STATUS = {
    RunStatus.RUNNING: "bold cyan",
    RunStatus.COMPLETED: "bold green",
    RunStatus.STOPPED_EARLY: "bold green",
    RunStatus.INTERRUPTED: "bold yellow",
    RunStatus.DIVERGED: "bold red",
    RunStatus.FAILED: "bold red",
}
_SCALARS = {
    "loss": "loss {:.4f}",
    "accuracy": "accuracy {:.1%}",
    "lr": "learning rate {:.3g}",
    "grad_norm": "gradient {:.3g}",
}
_SEVERITIES = {"severe": "red", "warning": "yellow", "info": "cyan"}


class ScreenLine(NamedTuple):
    """A line of the screen, with its style as Rich writes styles."""

    text: str
    style: str = ""


class Screen:
    """A run as a Rich renderable, with as many lines and columns as the terminal has now."""

    def __init__(self, live: LiveRun, *, unicode: bool) -> None:
        self._live, self._unicode = live, unicode

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        for line in screen(self._live, console.width, height, unicode=self._unicode):
            yield Text(line.text, style=line.style, no_wrap=True, overflow="crop", end="\n")


def screen(live: LiveRun, width: int, height: int, *, unicode: bool = True) -> list[ScreenLine]:
    """Return a run in at most `height` lines of at most `width` columns; the state comes first, then the curves.

    width: at least 20.  height: at least 4.  unicode: draw with more than ASCII.
    """
    head = [*_title(live), *_state(live, width, unicode)]
    foot = _notice(live)
    room = height - len(head) - len(foot)
    findings = _findings(live, width)
    shown = findings[: max(0, room // 3)]  # a third of the rest; the curves have the other two
    if len(shown) < len(findings) and shown:
        shown[-1] = ScreenLine("…" if unicode else "...", "dim")
    curves = _curves(live, width, room - len(shown), unicode)
    lines = [*head, *curves, *shown, *foot]
    return [ScreenLine(_cropped(printable_line(line.text), width), line.style) for line in lines[:height]]


def state_lines(live: LiveRun) -> list[str]:
    """Return the run now, as plain lines of the terminal's width."""
    terminal = shutil.get_terminal_size()
    # At least 24 lines: nothing limits the height of a file or a pipe.
    width, height = max(terminal.columns, 20), max(terminal.lines, 24)
    return [line.text.rstrip() for line in screen(live, width, height, unicode=shows_unicode())]


def _title(live: LiveRun) -> list[ScreenLine]:
    run = live.run
    status = run.status.value.replace("_", " ")
    reason = f" ({run.reason})" if run.reason else ""
    parts = [run.name, f"{status}{reason}", live.plan.model, *([live.plan.device] if live.plan.device else [])]
    return [ScreenLine("  ".join(parts), _STATUS[run.status])]


def _state(live: LiveRun, width: int, unicode: bool) -> list[ScreenLine]:
    parts = {
        "train": _formatted(live.metrics.scalars),
        "valid": _valid(live),
        "speed": _speed(live),
        "step": _step(live),
        "machine": _machine(live),
    }
    texts = [text for label in parts if parts[label] for text in _wrapped(label, parts[label], width)]
    return [_progress(live, width, unicode), *map(ScreenLine, texts)]


def _progress(live: LiveRun, width: int, unicode: bool) -> ScreenLine:
    done, planned = live.metrics.step, live.planned_steps
    epochs = f"/{live.plan.epochs}" if live.plan.epochs else ""
    text = f"epoch {live.metrics.epoch}{epochs}  step {done:,}"
    if not planned:
        return ScreenLine(text)
    share = min(done / planned, 1.0)
    left = "" if live.ended or live.seconds_left is None else f"  {duration(live.seconds_left)} left"
    text, tail = f"{text}/{planned:,}", f"{share:.0%}{left}"
    length = min(width - len(text) - len(tail) - 4, 40)  # of the bar, between two spaces on either side
    if length < 8:
        return ScreenLine(f"{text}  {tail}")
    full, empty = ("━", "╌") if unicode else ("#", "-")
    filled = round(share * length)
    return ScreenLine(f"{text}  {full * filled}{empty * (length - filled)}  {tail}")


def _formatted(scalars: Mapping[str, float]) -> list[str]:
    return [text.format(scalars[name]) for name, text in _SCALARS.items() if name in scalars]


def _valid(live: LiveRun) -> list[str]:
    if not live.metrics.epochs or not live.metrics.epochs[-1].valid:
        return []
    last = live.metrics.epochs[-1]
    parts = [*_formatted(last.valid), f"epoch {last.epoch}"]
    best = max((epoch for epoch in live.metrics.epochs if epoch.best), key=lambda epoch: epoch.epoch, default=None)
    if best is not None and best is not last and "accuracy" in best.valid:
        parts.append(f"best {best.valid['accuracy']:.1%} in epoch {best.epoch}")
    return parts


def _speed(live: LiveRun) -> list[str]:
    parts = [speed(live.images_per_second)] if live.images_per_second is not None else []
    if live.metrics.data_share is not None:
        parts.append(f"data wait {live.metrics.data_share:.0%}")
    return parts


def _step(live: LiveRun) -> list[str]:
    phases = live.profile.phases
    total = sum(phases.values())
    if not total:
        return [f"{1000 * live.metrics.step_seconds:.1f} ms"] if live.metrics.step_seconds is not None else []
    return [f"{1000 * total:.1f} ms", *(f"{name} {seconds / total:.0%}" for name, seconds in phases.items())]


def _machine(live: LiveRun) -> list[str]:
    """Return cores, memory and each GPU in use, of the machine and of this run."""
    known, parts = live.profile.gauges, []
    if "cpu" in known:
        this_run = f" ({known['tree.cpu']:.0f}% this run)" if "tree.cpu" in known else ""
        parts.append(f"cpu {known['cpu']:.0f}%{this_run}")
    if "memory" in known:
        this_run = f" ({size(known['tree.memory'])} this run)" if "tree.memory" in known else ""
        parts.append(f"memory {known['memory']:.0f}%{this_run}")
    for name in [name for name in known if name.startswith("gpu") and name[3:].isdigit()]:
        memory = f", memory {known[f'{name}.memory']:.0f}%" if f"{name}.memory" in known else ""
        parts.append(f"{name} {known[name]:.0f}%{memory}")
    return parts


def _curves(live: LiveRun, width: int, room: int, unicode: bool) -> list[ScreenLine]:
    """Return loss by step and validation accuracy by epoch: side by side, or as many as there is room for."""
    curves: list[tuple[str, Sequence[tuple[int, float]]]] = []
    if len(live.metrics.losses) > 1:
        stride = max(1, len(live.metrics.losses) // _MAX_POINTS)  # with the last point, which is the news
        curves.append(("training loss by step", [*live.metrics.losses[::stride], live.metrics.losses[-1]]))
    scores = [(epoch.epoch, epoch.valid["accuracy"]) for epoch in live.metrics.epochs if "accuracy" in epoch.valid]
    if len(scores) > 1:
        curves.append(("validation accuracy by epoch", scores))
    if not curves or room < _MIN_HEIGHT + 1:
        return []
    side_by_side = width >= _TWO_CURVES and len(curves) == 2
    across = (width - 2) // 2 if side_by_side else width
    rows = 1 if side_by_side else min(len(curves), room // (_MIN_HEIGHT + 1))
    height = min(room // rows - 1, _MAX_HEIGHT)
    blocks = [[title, *plot(points, across, height, unicode=unicode)] for title, points in curves]
    if side_by_side:
        pairs = zip_longest(*blocks, fillvalue="")
        return [ScreenLine(f"{_cropped(left, across):<{across}}  {right}") for left, right in pairs]
    return [ScreenLine(text) for block in blocks[:rows] for text in block]


def _findings(live: LiveRun, width: int) -> list[ScreenLine]:
    lines = []
    for line in live.finding_lines():
        style = _SEVERITIES.get(line.split(maxsplit=1)[0], "dim")
        wrapped = textwrap.wrap(line, width, subsequent_indent=" " * _LABEL_WIDTH)
        lines += [ScreenLine(text, style) for text in wrapped]
    return lines


def _notice(live: LiveRun) -> list[ScreenLine]:
    if live.ended or live.silent_seconds < _SILENT:
        return []
    return [ScreenLine(f"no output for {duration(live.silent_seconds)}; the process may have died", "bold yellow")]


def _wrapped(label: str, parts: Sequence[str], width: int) -> list[str]:
    """Return the parts after their label, on as many lines as they need."""
    lines, line = [], f"{label:<{_LABEL_WIDTH}}"
    for part in parts:
        if cell_len(line) + len(part) > width and line.strip() not in ("", label):
            lines.append(line.rstrip())
            line = " " * _LABEL_WIDTH
        line += f"{part}  "
    return [*lines, line.rstrip()]


def _cropped(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) > width else text
