"""LearningRateTooLow: steps so small that the run is over before anything is learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import head_only, optimizer_family, suitable_rate, usual_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, trend, value_at

_AT_WORK = 0.5  # of the peak rate: steps in warm-up and at the end of a schedule are small on purpose
_ORDINARY = 0.2  # of the usual rate: from there on the rate is not to blame
_REACH = 0.02  # Adam: how far a weight can go in the whole run, rate x steps; a new head needs about 0.6
_MEASURED = 3  # updates


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast it goes. value, threshold, unit: what says that it is too slow; words: the same for people."""

    value: float
    threshold: float
    unit: str
    words: str
    confidence: float


class LearningRateTooLow(Rule):
    """Found when hardly anything was learned and the updates are too small for it to come in the planned steps.

    Both must hold after the warm-up: less than `max_progress` of the way from the first loss to the least possible one
    is done and, going on in a line, most of it would still be left at the planned end; and the updates are below
    `tiny` of the weights, or would together come to less than `reach` of them if all went the same way (of a head by
    Adam also: learning rate x steps below 0.02, so that no weight can get anywhere). A rate within a factor of five of
    the optimizer's usual one is never blamed, nor one that learns. The new rate follows from the optimizer and the
    measured updates. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "HeadNotLearning", "UnderfitCapacity", "WeightUpdateRatio"),
        *("Confusion", "ScheduleMismatch"),
    )

    tiny: float = setting(1e-4, "size of a typical update", above=0, below=1, unit="of the weights")
    reach: float = setting(0.05, "size of all planned updates together", above=0, unit="of the weights")
    max_progress: float = setting(0.3, "share of the way that may be done", above=0, below=1)
    window: int = setting(12, "steps after the warm-up, at the least", low=9, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = loss_curve(view)
        working = seen.warm().powered(_AT_WORK) if len(seen) else seen
        want = seen.wanted(self.window, 0.15)
        if len(working) < want or not seen.known:
            cause = "" if seen.known or not len(seen) else "the learning rate is not known"
            yield self.not_enough_data(have=len(working), want=want, cause=cause)
            return
        line, steps = trend(working.losses), max(seen.planned, len(seen))
        done = (seen.first - line.now) / max(seen.first - seen.floor, 1e-12)
        # the first and last third of a stretch lie two thirds of it apart
        by_the_end = done + max(0.0, line.drop) / (len(working) * 2 / 3) * max(0, steps - view.done()) / seen.first
        low = seen.height(line.now) < 0.5
        pace = self._pace(view, working, steps)
        if pace is None or done > self.max_progress or by_the_end > 0.5 or low:
            yield self.clear(value=done, threshold=self.max_progress, unit="of the way")
            return
        yield self._finding(view, seen, working, pace)

    def _pace(self, view: RunView, working: LossCurve, steps: int) -> _Pace | None:
        """What says that the steps are too small, if anything does."""
        facts, peak = view.facts, working.peak
        if optimizer_family(facts) and peak > _ORDINARY * usual_rate(facts):
            return None
        ratio = view.scalar("update_ratio")
        rates = value_at(view.scalar("lr"), ratio.steps)
        sizes = ratio.values[np.isfinite(ratio.values) & (rates >= _AT_WORK * peak)]
        if len(sizes) < _MEASURED:
            if not optimizer_family(facts) or peak > 0.01 * usual_rate(facts):
                return None
            words = f"the rate of {peak:.1g} is a hundredth or less of the usual {usual_rate(facts):.1g}"
            return _Pace(peak, 0.01 * usual_rate(facts), "learning rate", words, 0.6)
        size = float(np.median(sizes))
        if size <= 0:
            return None  # nothing moves at all: not a matter of the rate
        words = f"one step changes the weights by {size:.1g} of their size"
        if size < self.tiny:
            return _Pace(size, self.tiny, "of the weights", words, 0.95)
        if size * steps < self.reach:
            words += f", all {steps} by {size * steps:.1g} at the most"
            return _Pace(size * steps, self.reach, "of the weights", words, 0.85)
        if optimizer_family(facts) == "adaptive" and head_only(facts) and peak * steps < _REACH:
            words = f"at {peak:.1g} no weight can get further than {peak * steps:.1g} in {steps} steps"
            return _Pace(peak * steps, _REACH, "rate x steps", words, 0.85)
        return None

    def _finding(self, view: RunView, seen: LossCurve, working: LossCurve, pace: _Pace) -> Finding:
        now = float(np.median(working.losses[-max(1, len(working) // 3) :]))
        ratio = view.scalar("update_ratio")
        shown = (Series.of("update ratio", ratio.steps, ratio.values),) if len(ratio) else ()
        return self.found(
            value=pace.value,
            threshold=pace.threshold,
            unit=pace.unit,
            steps=(int(working.steps[0]), view.done()),
            subject="loss",
            cause=f"the loss went from {seen.first:.3g} to {now:.3g} in {len(seen)} steps, and {pace.words}",
            fix={"lr": suitable_rate(view, above=seen.peak)},
            confidence=pace.confidence,
            evidence=(Series.of("loss", seen.steps, seen.losses), *shown),
        )
