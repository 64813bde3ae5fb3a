"""What `clearsight watch` shows: a run under way on one screen, from wide terminals down to narrow ones."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from clearsight.cli.plot import plot
from clearsight.core.events import RunStatus
from clearsight.reports.kit.format import duration
from clearsight.workflow.live.run import LiveRun

_LABEL = 9  # columns of a line's name
_BESIDE = 72  # columns from which two curves stand beside each other
_TALLEST, _LOWEST = 14, 6  # lines of a curve
_QUIET = 60.0  # seconds without a word after which that is said
_POINTS = 400  # of a curve: more than any terminal has dots
_STATUS = {
    RunStatus.RUNNING: "bold cyan",
    RunStatus.COMPLETED: "bold green",
    RunStatus.STOPPED_EARLY: "bold green",
    RunStatus.INTERRUPTED: "bold yellow",
    RunStatus.DIVERGED: "bold red",
    RunStatus.FAILED: "bold red",
}
_SEVERITIES = {"severe": "red", "warning": "yellow", "info": "cyan"}


@dataclass(frozen=True)
class ScreenLine:
    """A line of the screen and its style, in Rich's words."""

    text: str
    style: str = ""


class Screen:
    """A run as Rich draws it: as many lines and columns as the terminal has now."""

    def __init__(self, live: LiveRun, *, unicode: bool) -> None:
        self._live, self._unicode = live, unicode

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        for line in screen(self._live, console.width, height, unicode=self._unicode):
            yield Text(line.text, style=line.style, no_wrap=True, overflow="crop", end="\n")


def screen(live: LiveRun, width: int, height: int, *, unicode: bool = True) -> list[ScreenLine]:
    """A run in at most `height` lines of at most `width` columns; what matters less is left out first.

    width: at least 20.  height: at least 4.  unicode: whether the terminal shows more than ASCII.
    """
    head = [*_title(live), *_facts(live, width, unicode)]
    foot = _notice(live)
    room = height - len(head) - len(foot)
    said = _said(live, width)
    kept = said[: max(0, room // 3)] if len(said) > room // 3 else said
    if len(kept) < len(said) and kept:
        kept[-1] = ScreenLine("..." if not unicode else "…", "dim")
    curves = _curves(live, width, room - len(kept), unicode)
    lines = [*head, *curves, *kept, *foot]
    return [ScreenLine(_cropped(line.text, width), line.style) for line in lines[:height]]


def state_lines(live: LiveRun) -> list[str]:
    """The run now, as plain lines of the terminal's width."""
    size = shutil.get_terminal_size()
    return [
        line.text.rstrip()
        for line in screen(live, max(size.columns, 20), max(size.lines, 24), unicode=speaks_unicode())
    ]


def speaks_unicode() -> bool:
    """Whether standard output can say more than ASCII."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _title(live: LiveRun) -> list[ScreenLine]:
    run = live.run
    status = run.status.value.replace("_", " ")
    reason = f" ({run.reason})" if run.reason else ""
    device = run.hardware.get("device", "")
    parts = [run.name, f"{status}{reason}", run.recipe.model.model, *([str(device)] if device else [])]
    return [ScreenLine("  ".join(parts), _STATUS[run.status])]


def _facts(live: LiveRun, width: int, unicode: bool) -> list[ScreenLine]:
    lines = [_progress(live, width, unicode)]
    for label, parts in (
        ("train", _train(live)),
        ("valid", _valid(live)),
        ("speed", _speed(live)),
        ("step", _step(live)),
        ("machine", _machine(live)),
    ):
        if parts:
            lines += [ScreenLine(text) for text in _wrapped(label, parts, width)]
    return lines


def _progress(live: LiveRun, width: int, unicode: bool) -> ScreenLine:
    done, planned = live.step, live.planned
    told = f"epoch {live.epoch}/{live.run.recipe.train.passes}  step {done:,}"
    if not planned:
        return ScreenLine(told)
    share = min(done / planned, 1.0)
    left = "" if live.ended or live.seconds_left is None else f"  {duration(live.seconds_left)} left"
    told, tail = f"{told}/{planned:,}", f"{share:.0%}{left}"
    room = width - len(told) - len(tail) - 4
    if room < 8:
        return ScreenLine(f"{told}  {tail}")
    full, empty = ("━", "╌") if unicode else ("#", "-")
    filled = round(share * min(room, 40))
    return ScreenLine(f"{told}  {full * filled}{empty * (min(room, 40) - filled)}  {tail}")


def _train(live: LiveRun) -> list[str]:
    known, parts = live.scalars, []
    if "loss" in known:
        parts.append(f"loss {known['loss']:.4f}")
    if "accuracy" in known:
        parts.append(f"accuracy {known['accuracy']:.1%}")
    if "lr" in known:
        parts.append(f"learning rate {known['lr']:.3g}")
    if "grad_norm" in known:
        parts.append(f"gradient {known['grad_norm']:.3g}")
    return parts


def _valid(live: LiveRun) -> list[str]:
    if not live.epochs or not live.epochs[-1].valid:
        return []
    last = live.epochs[-1]
    parts = [f"{name} {last.valid[name]:.4f}" for name in ("loss",) if name in last.valid]
    if "accuracy" in last.valid:
        parts.append(f"accuracy {last.valid['accuracy']:.1%}")
    best = max((epoch for epoch in live.epochs if epoch.best), key=lambda epoch: epoch.epoch, default=None)
    parts.append(f"epoch {last.epoch}")
    if best is not None and best is not last and "accuracy" in best.valid:
        parts.append(f"best {best.valid['accuracy']:.1%} in epoch {best.epoch}")
    return parts


def _speed(live: LiveRun) -> list[str]:
    parts = []
    if live.images_per_second is not None:
        parts.append(f"{live.images_per_second:,.0f} images/s")
    if live.data_share is not None:
        parts.append(f"data wait {live.data_share:.0%}")
    return parts


def _step(live: LiveRun) -> list[str]:
    phases = live.phases
    total = sum(phases.values())
    if not total:
        return [f"{1000 * live.step_seconds:.1f} ms"] if live.step_seconds is not None else []
    return [f"{1000 * total:.1f} ms", *(f"{name} {seconds / total:.0%}" for name, seconds in phases.items())]


def _machine(live: LiveRun) -> list[str]:
    """Cores, memory, and each GPU; the job's own where that is known."""
    known, parts = live.gauges, []
    if "cpu" in known:
        own = f" ({known['tree.cpu']:.0f}% this run)" if "tree.cpu" in known else ""
        parts.append(f"cpu {known['cpu']:.0f}%{own}")
    if "memory" in known:
        own = f" ({_bytes(known['tree.memory'])} this run)" if "tree.memory" in known else ""
        parts.append(f"memory {known['memory']:.0f}%{own}")
    for name in [name for name in known if name.startswith("gpu") and name[3:].isdigit()]:
        memory = f", memory {known[f'{name}.memory']:.0f}%" if f"{name}.memory" in known else ""
        parts.append(f"{name} {known[name]:.0f}%{memory}")
    return parts


def _curves(live: LiveRun, width: int, room: int, unicode: bool) -> list[ScreenLine]:
    """Loss by step and validation accuracy by epoch: beside each other, or as many as there is room for."""
    drawn = []
    if len(live.losses) > 1:
        stride = max(1, len(live.losses) // _POINTS)
        drawn.append(("training loss by step", [*live.losses[::stride], live.losses[-1]]))
    scores = [(epoch.epoch, epoch.valid["accuracy"]) for epoch in live.epochs if "accuracy" in epoch.valid]
    if len(scores) > 1:
        drawn.append(("validation accuracy by epoch", scores))
    if not drawn or room < _LOWEST + 1:
        return []
    beside = width >= _BESIDE and len(drawn) == 2
    across = (width - 2) // 2 if beside else width
    rows = 1 if beside else min(len(drawn), room // (_LOWEST + 1))
    height = min(room // rows - 1, _TALLEST)
    blocks = [_curve(title, points, across, height, unicode) for title, points in drawn]
    if beside:
        pairs = zip_longest(*blocks, fillvalue="")
        return [ScreenLine(f"{_cropped(left, across):<{across}}  {right}") for left, right in pairs]
    return [ScreenLine(text) for block in blocks[:rows] for text in block]


def _curve(title: str, points: Sequence[tuple[int, float]], width: int, height: int, unicode: bool) -> list[str]:
    steps, values = zip(*points, strict=True)
    return [title, *plot(steps, values, width, height, unicode=unicode)]


def _said(live: LiveRun, width: int) -> list[ScreenLine]:
    lines = []
    for told in live.finding_lines():
        style = _SEVERITIES.get(told.split(maxsplit=1)[0], "dim")
        lines += [ScreenLine(text, style) for text in textwrap.wrap(told, width, subsequent_indent=" " * _LABEL)]
    return lines


def _notice(live: LiveRun) -> list[ScreenLine]:
    if live.ended or live.silent < _QUIET:
        return []
    return [ScreenLine(f"nothing new for {duration(live.silent)}; the process may be gone", "bold yellow")]


def _wrapped(label: str, parts: Sequence[str], width: int) -> list[str]:
    """The parts behind the name of their line, on as many lines as they take."""
    lines, line = [], f"{label:<{_LABEL}}"
    for part in parts:
        if cell_len(line) + len(part) > width and line.strip() not in ("", label):
            lines.append(line.rstrip())
            line = " " * _LABEL
        line += f"{part}  "
    return [*lines, line.rstrip()]


def _cropped(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) > width else text


def _bytes(number: float) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
