"""StalledTraining: a step that took so long that something must have been waiting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView

_LEAST = 20  # steps before one of them can be called unlike the others
_FLOOR = 60.0  # seconds: shorter pauses are evaluations, checkpoints and caches that fill


class StalledTraining(Rule):
    """Found when a step took longer than `threshold` seconds, or `unlike` times the median step and over a minute.

    Judged by the saved durations of the steps (scalar `step_seconds`), never by a clock, so that a finished run gives
    the same answer as a live one. The first step, in which caches fill and kernels are chosen, only counts by
    `threshold`. SageMaker's rule of this name waits for new tensors for as many seconds and can stop the job; what
    happens on a finding is said by actions here, and its `stop_training_on_fire` and `training_job_name_prefix` are
    accepted without effect.
    """

    also = ("StalledTrainingRule",)
    unused = ("stop_training_on_fire", "training_job_name_prefix")

    threshold: float = setting(1800.0, "duration of a step", above=0, unit="seconds")
    unlike: float = setting(100.0, "duration of a step over that of the median one", above=1)

    def needs(self) -> Needs:
        return Needs(points=2)

    def check(self, view: RunView) -> Iterator[Finding]:
        seconds = view.scalar("step_seconds")
        fine = np.isfinite(seconds.values)
        steps, values = seconds.steps[fine], seconds.values[fine]
        if len(values) < self.needs().points:
            yield self.not_enough_data(have=len(values), cause="the durations of steps were not saved")
            return
        usual = float(np.median(values))
        borders = np.full(len(values), self.threshold)
        if len(values) >= _LEAST:
            borders[1:] = min(self.threshold, max(_FLOOR, self.unlike * usual))
        slow = np.flatnonzero(values > borders)
        if not len(slow):
            yield self.clear(value=values.max(), threshold=float(borders[-1]), unit="seconds")
            return
        worst = int(slow[values[slow].argmax()])
        more = f", and {len(slow) - 1} more like it" if len(slow) > 1 else ""
        yield self.found(
            value=values[worst],
            threshold=float(borders[worst]),
            unit="seconds",
            steps=(int(steps[slow[0]]), int(steps[slow[-1]])),
            subject="step_seconds",
            cause=f"step {steps[worst]} took {values[worst]:.0f} s where {usual:.2g} s is usual{more}",
            advice="Look at what the run shared the machine with then: its disk, its memory and its data loader.",
            evidence=Series.of("seconds per step", steps, values),
        )
