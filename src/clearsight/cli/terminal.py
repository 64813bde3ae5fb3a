"""What a person sees while work goes on: progress on a terminal, plain lines elsewhere, nothing in the way of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, StepRecord
from clearsight.core.finding import Finding
from clearsight.workflow.messages import epoch_line, finding_lines, plan_lines


class Terminal:
    """Where a command talks. With `as_json` stdout carries the JSON alone and everything else goes to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._lines = sys.stderr if as_json else sys.stdout
        self._bar: Progress | None = None
        self._tasks: dict[str, Any] = {}

    def say(self, *lines: str) -> None:
        """Print lines for people."""
        if self._bar is not None:
            for line in lines:
                self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        for line in lines:
            print(line, file=self._lines, flush=True)

    def result(self, value: Any) -> None:
        """Print the one JSON value of a command."""
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        print()

    @contextmanager
    def working(self) -> Iterator[Terminal]:
        """Within the block progress is shown, if a person is there to see it."""
        if not sys.stderr.isatty():
            yield self
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            self._bar = bar
            try:
                yield self
            finally:
                self._bar = None
                self._tasks.clear()

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a piece of work is; does nothing off a terminal."""
        if self._bar is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(what))


class TrainingView(NullObserver):
    """Shows a run as it goes: the plan, a bar for the steps, a line per epoch."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._steps = 0

    def on_plan(self, plan: RunPlan) -> None:
        self._steps = plan.steps
        self._terminal.say(*plan_lines(plan))

    def on_step(self, record: StepRecord) -> None:
        self._terminal.progress("training", record.step, self._steps)

    def on_epoch(self, record: EpochRecord) -> None:
        self._terminal.say(epoch_line(record))

    def on_finding(self, finding: Finding) -> None:
        self._terminal.say(*finding_lines(finding))
