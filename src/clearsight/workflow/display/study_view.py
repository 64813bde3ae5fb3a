"""Views of a running study: a live table on a terminal, plain lines elsewhere, JSON lines for programs."""

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

from clearsight.core.finding import flags
from clearsight.core.format import duration, several
from clearsight.core.safe_text import printable_line
from clearsight.core.secrets import redact
from clearsight.core.study import Study, StudyStatus
from clearsight.core.ties import ties_text
from clearsight.core.trial import Trial, TrialState, best_trial
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.messages import failed_step_lines
from clearsight.workflow.study.plan import space_lines

_MAX_ROWS = 8  # trials in the live table: it must fit a terminal of 24 lines with the shell's prompt above it
_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 16  # characters
_COLOURS = {TrialState.COMPLETE: "green", TrialState.PRUNED: "yellow", TrialState.FAILED: "red"}


class StudyProgress:
    """State of a study as its events give it: an observer that shows nothing, and the base of those that do."""

    study: Study  # from on_begin on

    def __init__(self) -> None:
        self.trials: dict[int, Trial] = {}
        self.values: dict[int, list[float]] = {}  # by epoch, of the running trials
        self.started = time.monotonic()
        self._earlier = 0  # trials that had ended when this process started

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self.study, self.started = study, time.monotonic()
        self.trials = {trial.number: trial for trial in trials}
        self._earlier = len(self.ended)

    def on_trial(self, trial: Trial) -> None:
        self.trials[trial.number] = trial

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self.values.setdefault(trial.number, []).append(value)

    def on_result(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self.values.pop(trial.number, None)

    def on_trouble(self, sentence: str) -> None: ...

    def on_end(self, status: StudyStatus, reason: str) -> None: ...

    def close(self) -> None:
        """Leave the terminal to others, also after an error."""

    @property
    def best(self) -> Trial | None:
        """The best trial so far."""
        return best_trial(list(self.trials.values()), self.study.objective)

    @property
    def ended(self) -> list[Trial]:
        """The trials of this study that have ended."""
        trials = list(self.trials.values())  # a copy: Rich draws the table on a thread of its own
        return [trial for trial in trials if not trial.imported and trial.state is not TrialState.RUNNING]

    @property
    def seconds_left(self) -> float | None:
        """Estimate by the trials that ended since this process started; None before the first."""
        done = len(self.ended) - self._earlier
        remaining = self.study.plan.trials - len(self.ended)
        return (time.monotonic() - self.started) / done * remaining if done > 0 else None


class StudyLines(StudyProgress):
    """A study as plain lines: one for each trial that ends, and one for each problem.

    Epochs have none: a log with a line per epoch of every trial would hide the trials.
    """

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        super().on_begin(study, trials)
        self._terminal.print(*begin_lines(self))

    def on_result(self, trial: Trial) -> None:
        previous = self.best
        super().on_result(trial)
        self._terminal.print(trial_line(trial, self, best=self.best is not None and self.best != previous))
        self._terminal.progress("trials", len(self.ended), self.study.plan.trials)

    def on_trouble(self, sentence: str) -> None:
        self._terminal.print(f"note     {sentence}")


class StudyTable(StudyProgress):
    """A study as a table on a terminal, drawn again as the study goes on."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live: Live | None = None
        self._notes: list[str] = []

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        super().on_begin(study, trials)
        for line in begin_lines(self):
            self._console.print(printable_line(line), markup=False, highlight=False, soft_wrap=True)
        # Transient: the table disappears at the end, when the command prints the result.
        self._live = Live(self, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def on_trouble(self, sentence: str) -> None:
        self._notes = [*self._notes[-2:], sentence]  # the last three

    def on_end(self, status: StudyStatus, reason: str) -> None:
        self.close()

    def close(self) -> None:
        """Remove the table from the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich__(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column(self.study.objective.metric, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("params", no_wrap=True, overflow="ellipsis")
        running = [t for t in list(self.trials.values()) if t.state is TrialState.RUNNING]
        recent = [t for t in self.ended if t not in running][-max(1, _MAX_ROWS - len(running)) :]
        for trial in [*recent, *running[:_MAX_ROWS]]:
            table.add_row(*self._row(trial))
        notes = [Text(printable_line(f"note  {note}"), style="yellow") for note in self._notes]
        return Group(Text(head_line(self)), table, *notes)

    def _row(self, trial: Trial) -> tuple[Text | str, ...]:
        values = self.values.get(trial.number, [])
        value = f"{(trial.values or values[-1:])[0]:.4f}" if trial.values or values else ""
        is_best = self.best is not None and self.best.number == trial.number
        state = Text("best", "bold green") if is_best else Text(trial.state.value, _COLOURS.get(trial.state, "cyan"))
        curve = Text(bars(list(trial.curve.values()) or values), "dim")
        return str(trial.number), state, value, curve, Text(printable_line(flags(trial.params)))


class StudyEvents(StudyProgress):
    """A study as JSON lines on stderr, for programs. docs/json.md describes the events."""

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        super().on_begin(study, trials)
        self._print("begin", study=str(study.path), trials=study.plan.trials, ended=len(self.ended))

    def on_trial(self, trial: Trial) -> None:
        super().on_trial(trial)
        self._print("trial", trial=trial.number, params=dict(trial.params), worker=trial.worker)

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self._print("epoch", trial=trial.number, epoch=epoch, value=value if math.isfinite(value) else None)

    def on_result(self, trial: Trial) -> None:
        super().on_result(trial)
        value = trial.values[0] if trial.values else None
        best = self.best.number if self.best is not None else None
        state = trial.state.value
        self._print("result", trial=trial.number, state=state, value=value, reason=trial.reason, best=best)

    def on_trouble(self, sentence: str) -> None:
        self._print("trouble", text=sentence)

    def on_end(self, status: StudyStatus, reason: str) -> None:
        self._print("end", status=status.value, reason=reason)

    def _print(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=sys.stderr, flush=True)


def study_view(terminal: Terminal) -> StudyProgress:
    """Return the view that suits the output: a live table, plain lines, or JSON lines."""
    if terminal.as_json:
        return StudyEvents()
    return StudyTable(Console()) if terminal.is_interactive else StudyLines(terminal)


def begin_lines(progress: StudyProgress) -> list[str]:
    """Return the plan of a study as lines for people."""
    plan = progress.study.plan
    metrics = ", ".join(f"{objective.direction} {objective.metric}" for objective in plan.objectives)
    done = f", {len(progress.ended)} of them done" if progress.ended else ""
    imported = sum(trial.imported for trial in progress.trials.values())
    return [
        f"study    {progress.study.path}",
        f"metric   {metrics}, on the validation images",
        f"search   {plan.searcher}, {several(plan.trials, 'trial')}{done}",
        *(f"space    {line}" for line in space_lines(plan.space)),
        *([f"earlier  {several(imported, 'trial')} of {', '.join(map(redact, plan.warm_start))}"] if imported else []),
    ]


def trial_line(trial: Trial, progress: StudyProgress, *, best: bool) -> str:
    """Return the line of a trial that has ended."""
    width = len(str(progress.study.plan.trials))
    metric = progress.study.objective.metric
    result = f"{metric} {trial.values[0]:.4f}" if trial.values else trial.state.value
    same = f"  same recipe as trial {trial.same_as}" if trial.same_as is not None else ""
    reason = f"  {trial.reason}" if trial.reason else ""
    parts = [f"trial {trial.number:>{width}}", result, flags(trial.params), duration(trial.seconds)]
    return "  ".join(parts) + same + reason + ("  best" if best else "")


def bars(values: Sequence[float]) -> str:
    """Return a curve as at most 16 blocks, as high as the values between the lowest and the highest."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    indices = sorted({round((len(finite) - 1) * i / (_CURVE_WIDTH - 1)) for i in range(_CURVE_WIDTH)})
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0  # a constant curve stays at the lowest block
    return "".join(_BLOCKS[min(7, int(8 * (finite[index] - low) / span))] for index in indices)


def head_line(progress: StudyProgress) -> str:
    """Return the line above the table: trials, best so far, time left."""
    best, left = progress.best, progress.seconds_left
    parts = [f"{len(progress.ended)} of {several(progress.study.plan.trials, 'trial')}"]
    if best is not None:
        parts.append(f"best {progress.study.objective.metric} {best.values[0]:.4f} (trial {best.number})")
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def end_lines(study: Study, saved: Mapping[str, float], next_commands: Sequence[str], test: Any) -> list[str]:
    """Return the end of a study for people: status, best trial, savings, and the commands to type next.

    saved: of tuning.analysis.savings.  test: scores of the best trial's model on the test images, or None.
    """
    reason = f" ({study.reason})" if study.reason else ""
    lines = [f"{study.status.value.replace('_', ' ')}{reason} after {duration(study.seconds)}"]
    if study.best:
        params, value = flags(study.best["params"]), study.best["value"]
        lines.append(f"best     trial {study.best['trial']}: {study.objective.metric} {value:.4f}  {params}")
        if text := ties_text(study.best.get("ties") or {}):
            lines.append(f"         {text}")
    if test:
        lines.append(f"test     loss {test['loss']:.4f} accuracy {test['accuracy']:.4f}")
    if text := savings_text(saved):
        lines.append(f"saved    {text}")
    lines += [line for step in study.failed_steps for line in failed_step_lines(step)]
    if study.status is not StudyStatus.INTERRUPTED:
        lines.append(f"report   {study.path / 'report.html'}")
    return [*lines, *(f"{'next' if i == 0 else '':<8} {command}" for i, command in enumerate(next_commands))]


def savings_text(saved: Mapping[str, float]) -> str:
    """Return what the study did not have to compute, as text; "" if that is nothing."""
    parts = []
    if saved["features_seconds"] >= 1:
        parts.append(f"{duration(saved['features_seconds'])} of forward passes (features computed once)")
    if saved["pruned_trials"]:
        epochs = several(round(saved["pruned_epochs"]), "epoch")
        trials = several(round(saved["pruned_trials"]), "pruned trial")
        parts.append(f"{epochs} of {trials}, about {duration(saved['pruned_seconds'])}")
    if saved["answered_trials"]:
        parts.append(f"{several(round(saved['answered_trials']), 'trial')} with the recipe of an earlier one")
    return "; ".join(parts)
