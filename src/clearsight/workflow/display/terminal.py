"""Terminal: progress bars on a terminal, plain lines elsewhere, and stdout for nothing but JSON with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, StepRecord
from clearsight.core.finding import Finding, finding_lines
from clearsight.workflow.messages import epoch_line, plan_lines


class Terminal:
    """Output of a command. With `as_json` stdout carries the JSON value alone and everything else goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._stream = sys.stderr if as_json else sys.stdout
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}

    @property
    def is_interactive(self) -> bool:
        """True if what was printed can be drawn again."""
        return not self.as_json and sys.stdout.isatty()

    def print(self, *lines: str) -> None:
        """Print lines for people."""
        for line in lines:
            if self._bar is not None:  # above the bar, which Rich draws again below the line
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)  # at once, for `tee` and `tail -f`

    def print_result(self, value: Any, lines: Iterable[str]) -> None:
        """Print the result of the command: with --json its JSON value, else the lines for people."""
        if self.as_json:
            self.print_json(value)
        else:
            self.print(*lines)

    def print_json(self, value: Any) -> None:
        """Print the JSON value of the command."""
        # NaN and Infinity are no JSON: an error here, in the tests, is better than one in the reader's parser.
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        print()

    @contextmanager
    def working(self) -> Iterator[Terminal]:
        """Show progress within the block if stderr is a terminal."""
        if not sys.stderr.isatty():  # a log would fill with bars
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # On stderr, so that stdout can be piped while a person watches.
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            self._bar = bar
            try:
                yield self
            finally:
                self._bar = None
                self._tasks.clear()

    def progress(self, task: str, done: int, total: int) -> None:
        """Show how much of a task is done; does nothing without a terminal."""
        if self._bar is None:
            return
        if task not in self._tasks:
            self._tasks[task] = self._bar.add_task(task, total=total)
        self._bar.update(self._tasks[task], completed=done, total=total)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(task))


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


def shows_unicode() -> bool:
    """Return True if the encoding of stdout has more than ASCII, so that curves can be drawn in braille dots."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
