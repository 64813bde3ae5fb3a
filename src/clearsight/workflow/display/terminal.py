"""Terminal: progress bars on a terminal, plain lines elsewhere, and stdout for nothing but JSON with --json.

Elsewhere no activity is silent for longer than ten seconds: from then on it has a line, on stderr, every ten seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from clearsight.core.events import EpochRecord, FailedStep, NullObserver, RunPlan, StepRecord
from clearsight.core.files import finite_json
from clearsight.core.finding import Finding, finding_lines
from clearsight.core.format import duration, encodable, rate
from clearsight.core.safe_text import printable_line, shown_json
from clearsight.workflow.messages import epoch_line, plan_lines

_SILENCE = 10.0  # seconds without a line after which an activity says how far it is


class Terminal:
    """Output of a command. With `as_json` stdout carries the JSON value alone and everything else goes to stderr.

    outlives_reader: continue in silence when the reader of the output has gone (`| head`), as a training should.
    Other commands end: BrokenPipeError passes through.  clock: seconds, for tests.
    unit: what progress counts, "images"; with it, their number per second is shown too.
    """

    unit = ""

    def __init__(
        self, *, as_json: bool, outlives_reader: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.as_json = as_json
        self._outlives_reader, self._clock = outlives_reader, clock
        self._printed_at = clock()
        self._begun: dict[str, tuple[float, int]] = {}  # activity -> when it began, and how much was done then
        self._stream = sys.stderr if as_json else sys.stdout
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}

    @property
    def is_interactive(self) -> bool:
        """True if what was printed can be drawn again."""
        return not self.as_json and sys.stdout.isatty()

    def print(self, *lines: str) -> None:
        """Print lines for people."""
        for line in map(printable_line, lines):
            if self._bar is not None:  # above the bar, which Rich draws again below the line
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                self._write(line, self._stream)
        self._printed_at = self._clock()

    def print_result(self, value: Any, lines: Iterable[str]) -> None:
        """Print the result of the command: with --json its JSON value, else the lines for people."""
        if self.as_json:
            self.print_json(value)
        else:
            self.print(*lines)

    def print_json(self, value: Any) -> None:
        """Print the JSON value of the command; characters that stdout cannot encode are escaped."""
        # NaN and Infinity are no JSON: an error here, in the tests, is better than one in the reader's parser.
        print(shown_json(value, _encoding(sys.stdout)))

    def print_event(self, event: str, values: Mapping[str, Any]) -> None:
        """Print an event as a line of JSON on stderr with --json; does nothing without."""
        if self.as_json:
            self.print(json.dumps({"event": event, **finite_json(values)}))

    @contextmanager
    def working(self) -> Iterator[Terminal]:
        """Show progress within the block if stderr is a terminal."""
        if not sys.stderr.isatty():  # a log would fill with bars
            yield self
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            *([_SpeedColumn(self.unit)] if self.unit else []),
            TimeRemainingColumn(),
        )
        # On stderr, so that stdout can be piped while a person watches.
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            self._bar = bar
            try:
                yield self
            finally:
                self._bar = None
                self._tasks.clear()

    def progress(self, task: str, done: int, total: int) -> None:
        """Show how much of a task is done: as a bar on a terminal, else as a line after each ten seconds of silence."""
        if self._bar is None:
            self._print_progress(task, done, total)
            return
        if task not in self._tasks:
            self._tasks[task] = self._bar.add_task(printable_line(task), total=total)
        self._bar.update(self._tasks[task], completed=done, total=total)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(task))

    def _print_progress(self, task: str, done: int, total: int) -> None:
        now = self._clock()
        began, done_before = self._begun.setdefault(task, (now, done))
        if done >= total:
            del self._begun[task]
        elif now - max(began, self._printed_at) >= _SILENCE:
            seconds_each = (now - began) / max(1, done - done_before)
            self._write(printable_line(progress_line(task, done, total, seconds_each, self.unit)), sys.stderr)
            self._printed_at = now

    def _write(self, line: str, stream: TextIO) -> None:
        try:
            # A program in Python may print to a terminal that lacks a character of a name.
            encoding = _encoding(stream)
            # Flushed at once, for `tee` and `tail -f`.
            print(line.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
        except BrokenPipeError:
            if not self._outlives_reader:
                raise
            discard_output()


class _SpeedColumn(ProgressColumn):
    """Column of a bar with the number of units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{rate(speed)} {self._unit}/s" if speed else "")


def progress_line(task: str, done: int, total: int, seconds_each: float, unit: str = "") -> str:
    """Return how much of a task is done and how long the rest takes. seconds_each: of one of `total`, a `unit`."""
    speed = f", {rate(1 / seconds_each)} {unit}/s" if unit and seconds_each else ""
    return f"{task}: {done:,} of {total:,}{speed}, about {duration(seconds_each * (total - done))} left"


def discard_output() -> None:
    """Send stdout and stderr to nowhere from now on: their reader has gone, and Python flushes them at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class TrainingView(NullObserver):
    """Observer that shows a run as it trains: the plan, a bar for the steps, a line per epoch and per finding."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._steps = 0

    def on_plan(self, plan: RunPlan) -> None:
        self._steps = plan.steps
        self._terminal.print(*plan_lines(plan))

    def on_step(self, record: StepRecord) -> None:
        self._terminal.progress("training", record.step, self._steps)

    def on_epoch(self, record: EpochRecord) -> None:
        self._terminal.print(epoch_line(record))

    def on_finding(self, finding: Finding) -> None:
        self._terminal.print(*finding_lines(finding))

    def on_resolved(self, finding: Finding) -> None:
        self._terminal.print(*finding_lines(finding))
        if finding.resolved is not None:
            self._terminal.print_event("resolved", {"rule": finding.rule, **asdict(finding.resolved)})

    def on_remark(self, remark: str) -> None:
        self._terminal.print(f"note     {remark}")

    def on_failed_step(self, failed: FailedStep) -> None:
        self._terminal.print_event("failed_step", failed.to_json())  # for people it stands among the last lines


def shows_unicode() -> bool:
    """Return True if the encoding of stdout has braille dots, in which curves are drawn."""
    return encodable("\u28ff", _encoding(sys.stdout))


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"  # that of a stream in memory is None
