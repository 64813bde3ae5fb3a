"""What a person, or a program, sees of a study while it goes on."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clearsight.cli.terminal import Terminal
from clearsight.core.finding import flags
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial, TrialState, best_trial
from clearsight.reports.kit.format import duration
from clearsight.tuning.space_syntax import format_dimension

_SHOWN = 8  # trials under way and ended that the live table has room for
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 16  # characters of a curve
_MARKS = {TrialState.COMPLETE: "", TrialState.PRUNED: "pruned", TrialState.FAILED: "failed"}
_COLOURS = {TrialState.COMPLETE: "green", TrialState.PRUNED: "yellow", TrialState.FAILED: "red"}


class StudyProgress:
    """What was heard of a study so far: the one place where views look."""

    def __init__(self) -> None:
        self.study: Study | None = None
        self.trials: dict[int, Trial] = {}
        self.values: dict[int, list[float]] = {}  # of trials under way, by epoch
        self.began = time.monotonic()

    def take(self, trial: Trial) -> None:
        """A trial as it is now."""
        self.trials[trial.number] = trial
        if trial.state is not TrialState.RUNNING:
            self.values.pop(trial.number, None)

    @property
    def best(self) -> Trial | None:
        """The best so far."""
        assert self.study is not None
        return best_trial(list(self.trials.values()), self.study.aim)

    @property
    def over(self) -> list[Trial]:
        """Trials of this study that came to an end."""
        trials = list(self.trials.values())  # at once: a table is drawn by a thread of its own
        return [t for t in trials if t.own and t.state is not TrialState.RUNNING]

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes, by the trials that ended since this process began; None before the first."""
        assert self.study is not None
        done = len(self.over) - self._before
        left = self.study.plan.trials - len(self.over)
        return (time.monotonic() - self.began) / done * left if done > 0 else None

    _before = 0

    def begin(self, study: Study, trials: Sequence[Trial]) -> None:
        """The study as it was taken up."""
        self.study, self.began = study, time.monotonic()
        self.trials = {trial.number: trial for trial in trials}
        self._before = len(self.over)


class StudyLines:
    """A study as plain lines: one for each trial that came to an end, and for what went wrong."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._told = terminal, StudyProgress()

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self._told.begin(study, trials)
        self._terminal.say(*begin_lines(study, self._told))

    def on_trial(self, trial: Trial) -> None:
        self._told.take(trial)

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        """Nothing is said of single epochs."""

    def on_result(self, trial: Trial) -> None:
        before = self._told.best
        self._told.take(trial)
        best = self._told.best
        self._terminal.say(trial_line(trial, self._told, best=best is not None and best != before))

    def on_trouble(self, sentence: str) -> None:
        self._terminal.say(f"note     {sentence}")

    def on_end(self, status: StudyStatus, reason: str) -> None:
        """The command says how it ended."""


class StudyTable:
    """A study as a table that is drawn anew while it goes on, for a terminal."""

    def __init__(self, console: Console) -> None:
        self._console, self._told = console, StudyProgress()
        self._live: Live | None = None
        self._notes: list[str] = []

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self._told.begin(study, trials)
        for line in begin_lines(study, self._told):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._live = Live(self, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def on_trial(self, trial: Trial) -> None:
        self._told.take(trial)

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self._told.values.setdefault(trial.number, []).append(value)

    def on_result(self, trial: Trial) -> None:
        self._told.take(trial)

    def on_trouble(self, sentence: str) -> None:
        self._notes = [*self._notes[-2:], sentence]

    def on_end(self, status: StudyStatus, reason: str) -> None:
        self.close()

    def close(self) -> None:
        """Take the table off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich__(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column(self._metric, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("params", no_wrap=True, overflow="ellipsis")
        running = [t for t in list(self._told.trials.values()) if t.state is TrialState.RUNNING]
        recent = [t for t in self._told.over if t not in running][-max(1, _SHOWN - len(running)) :]
        for trial in [*recent, *running[:_SHOWN]]:
            table.add_row(*self._row(trial))
        notes = [Text(f"note  {note}", style="yellow") for note in self._notes]
        return Group(Text(head_line(self._told)), table, *notes)

    @property
    def _metric(self) -> str:
        assert self._told.study is not None
        return self._told.study.aim.metric

    def _row(self, trial: Trial) -> tuple[Text | str, ...]:
        values = self._told.values.get(trial.number, [])
        shown = trial.values[0] if trial.values else values[-1] if values else None
        best = self._told.best
        mark = "best" if best is not None and best.number == trial.number else trial.state.value
        style = "bold green" if mark == "best" else _COLOURS.get(trial.state, "cyan")
        line = bars(list(trial.curve.values()) or values)
        return (
            str(trial.number),
            Text(mark, style=style),
            "" if shown is None else f"{shown:.4f}",
            Text(line, style="dim"),
            flags(trial.params),
        )


class StudyEvents:
    """A study as JSON lines on standard error, for programs that look on."""

    def __init__(self) -> None:
        self._told = StudyProgress()

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self._told.begin(study, trials)
        self._say("begin", study=str(study.path), trials=study.plan.trials, ended=len(self._told.over))

    def on_trial(self, trial: Trial) -> None:
        self._told.take(trial)
        self._say("trial", trial=trial.number, params=dict(trial.params), worker=trial.worker)

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self._say("epoch", trial=trial.number, epoch=epoch, value=value if math.isfinite(value) else None)

    def on_result(self, trial: Trial) -> None:
        self._told.take(trial)
        best = self._told.best
        self._say(
            "result",
            trial=trial.number,
            state=trial.state.value,
            value=trial.values[0] if trial.values else None,
            reason=trial.reason,
            best=best.number if best is not None else None,
        )

    def on_trouble(self, sentence: str) -> None:
        self._say("trouble", text=sentence)

    def on_end(self, status: StudyStatus, reason: str) -> None:
        self._say("end", status=status.value, reason=reason)

    def _say(self, event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)


def begin_lines(study: Study, told: StudyProgress) -> list[str]:
    """What a study is about to do."""
    plan = study.plan
    aims = ", ".join(f"{one.direction} {one.metric}" for one in plan.objectives)
    before = f", {len(told.over)} of them done" if told.over else ""
    brought = sum(not trial.own for trial in told.trials.values())
    return [
        f"study    {study.path}",
        f"aim      {aims}, by the validation images",
        f"search   {plan.searcher}, {plan.trials} trials{before}",
        *(f"space    {format_dimension(one)}" for one in plan.space.dimensions),
        *([f"earlier  {brought} trials of {', '.join(plan.warm_start)}"] if brought else []),
    ]


def trial_line(trial: Trial, told: StudyProgress, *, best: bool) -> str:
    """One trial that came to an end."""
    assert told.study is not None
    width = len(str(told.study.plan.trials))
    value = f"{told.study.aim.metric} {trial.values[0]:.4f}" if trial.values else _MARKS[trial.state]
    same = f"  as trial {trial.same_as}" if trial.same_as is not None else ""
    reason = f"  {trial.reason}" if trial.reason else ""
    parts = [f"trial {trial.number:>{width}}", value, flags(trial.params), duration(trial.seconds)]
    return "  ".join(parts) + same + reason + ("  best" if best else "")


def bars(values: Sequence[float]) -> str:
    """A curve in a few characters, each the last value of its stretch, by its height between the least and the most."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    places = sorted({round((len(finite) - 1) * i / (_WIDTH - 1)) for i in range(_WIDTH)})
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * (finite[place] - low) / span))] for place in places)


def head_line(told: StudyProgress) -> str:
    """Where a study is: trials, best so far, time left."""
    assert told.study is not None
    best, left = told.best, told.seconds_left
    parts = [f"{len(told.over)} of {told.study.plan.trials} trials"]
    if best is not None:
        parts.append(f"best {told.study.aim.metric} {best.values[0]:.4f} (trial {best.number})")
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def end_lines(study: Study, saved: Mapping[str, float], next_commands: Sequence[str], test: Any) -> list[str]:
    """How a study ended, what it found, what it did not have to compute, and what to type next."""
    after = f" ({study.reason})" if study.reason else ""
    lines = [f"{study.status.value.replace('_', ' ')}{after} after {duration(study.seconds)}"]
    if study.best:
        found = flags(study.best["params"])
        lines.append(f"best     trial {study.best['trial']}: {study.aim.metric} {study.best['value']:.4f}  {found}")
    if test:
        lines.append(f"test     loss {test['loss']:.4f} accuracy {test['accuracy']:.4f}")
    if told := saved_words(saved):
        lines.append(f"saved    {told}")
    if study.status is not StudyStatus.INTERRUPTED:
        lines.append(f"report   {study.path / 'report.html'}")
    return [*lines, *(f"{'next' if i == 0 else '':<8} {command}" for i, command in enumerate(next_commands))]


def saved_words(saved: Mapping[str, float]) -> str:
    """What was not computed, in words; "" where that is nothing."""
    parts = []
    if saved["features_seconds"] >= 1:
        parts.append(f"{duration(saved['features_seconds'])} of forward passes (features computed once)")
    if saved["pruned_trials"]:
        epochs = f"{saved['pruned_epochs']:.0f} epochs of {saved['pruned_trials']:.0f} pruned trials"
        parts.append(f"{epochs}, about {duration(saved['pruned_seconds'])}")
    if saved["answered_trials"]:
        parts.append(f"{saved['answered_trials']:.0f} trials answered from the same recipe")
    return "; ".join(parts)
