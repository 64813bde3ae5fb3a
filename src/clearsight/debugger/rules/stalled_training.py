"""StalledTraining: a step took so long that it must have waited for something."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView

_LEAST = 20  # steps that are needed for a median to compare with
_FLOOR = 60.0  # seconds: shorter pauses are evaluations, checkpoints and filling caches


class StalledTraining(Rule):
    """Found when a step took longer than `threshold` seconds, or `unlike` times the median step and over a minute.

    The rule judges the saved durations of the steps (scalar `step_seconds`), never a clock, so that a finished run
    gives the same result as a running one. The first step, in which caches fill and kernels are chosen, only counts by
    `threshold`. SageMaker's rule of this name waits for new tensors for as many seconds, and can stop the job; here
    actions decide what follows a finding, and its `stop_training_on_fire` and `training_job_name_prefix` are accepted
    without effect.
    """

    also = ("StalledTrainingRule",)
    unused = ("stop_training_on_fire", "training_job_name_prefix")

    threshold: float = setting(1800.0, "longest duration of a step", above=0, unit="seconds")
    unlike: float = setting(100.0, "longest duration over that of the median step", above=1)

    def needs(self) -> Needs:
        return Needs(points=2)

    def check(self, view: RunView) -> list[Finding]:
        seconds = view.scalar("step_seconds")
        finite = np.isfinite(seconds.values)
        steps, values = seconds.steps[finite], seconds.values[finite]
        if len(values) < self.needs().points:
            return [self.not_enough_data(have=len(values), cause="the durations of steps were not saved")]
        median = float(np.median(values))
        limits = np.full(len(values), self.threshold)
        if len(values) >= _LEAST:
            # Not the first step: caches fill and kernels are chosen in it.
            limits[1:] = min(self.threshold, max(_FLOOR, self.unlike * median))
        slow = np.flatnonzero(values > limits)
        if not len(slow):
            return [self.clear(value=values.max(), threshold=float(limits[-1]), unit="seconds")]
        worst = int(slow[values[slow].argmax()])
        others = f", and so did {len(slow) - 1} other steps" if len(slow) > 1 else ""
        finding = self.found(
            value=values[worst],
            threshold=float(limits[worst]),
            unit="seconds",
            steps=(int(steps[slow[0]]), int(steps[slow[-1]])),
            subject="step_seconds",
            cause=f"step {steps[worst]} took {values[worst]:.0f} s, where the median is {median:.2g} s{others}",
            advice="Check the disk, the memory, the data loader and other jobs of the machine at that time.",
            evidence=Series.of("seconds per step", steps, values),
        )
        return [finding]
