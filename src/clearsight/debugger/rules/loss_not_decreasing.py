"""LossNotDecreasing: the training loss no longer falls, or rises again."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import lowered_rate, suitable_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, Trend, loss_curve, rolling, trend, value_at

_LEAST = 15  # steps that are compared, however small `window` is
_SHARE = 0.4  # of the plan that must be over before a verdict
_WORKING_RATE = 0.1  # of the peak rate: below it a flat loss is what the schedule wants
_STUCK = 0.7  # position between the least loss (0) and chance level (1): above it there is much to learn
_NOTHING_LEARNED = 0.94  # the same position: above it nothing was learned at all
# Falls that must be excluded, of the chance-level loss. True: nothing was learned so far, so noise is larger too.
_EXCLUDED_FALL = {False: 0.02, True: 0.04}
_ACCURATE = 0.9  # accuracy: above it the run is no failure, however flat its loss
_FALL_ERRORS = 1.645  # standard errors of a fall, one-sided 95 %
_RISE_ERRORS = 4.0  # standard errors of a rise: it is searched for at many places
_ADVICE = "Check the labels and that the optimizer holds the parameters, then try another learning rate."


class LossNotDecreasing(Rule):
    """Found when the training loss is high and flat: it fell by less than `min_drop` % beyond the noise of batches.

    The rule compares medians of the first and the last third of the steps after the warm-up, or of the last half where
    something was learned before, once they are `window` or 40 % of the plan: one lucky batch decides nothing. Flat
    means that a fall cannot be told from noise, and that a useful fall (4 % of the chance-level loss, 2 % where
    something was learned before) can be excluded. A low plateau is convergence and a flat end of a schedule is
    intended: both are clear. A loss that rose by more than `max_rise` % of the chance-level loss and stays there is
    found too.

    SageMaker's rule of this name compares two single points ten steps apart: with batches of 16 that fires by chance on
    most runs that learn, and on those that have converged. Its `num_steps`, `diff_percent` and
    `increase_threshold_percent` are accepted.
    """

    explains = ("UnderfitCapacity",)
    unused = ("collection_names", "tensor_regex", "use_losses_collection", "mode")

    window: int = setting(40, "steps that are judged, at least", low=1, unit="steps", aliases=("num_steps",))
    min_drop: float = setting(0.1, "smallest fall that counts", low=0, unit="% of the loss", aliases=("diff_percent",))
    max_rise: float = setting(
        30.0, "largest rise", above=0, unit="% of the chance-level loss", aliases=("increase_threshold_percent",)
    )

    def needs(self) -> Needs:
        return Needs(points=max(self.window, _LEAST))

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        warm = curve.after_warm_up()
        needed = curve.needed_steps(max(self.window, _LEAST), _SHARE)
        if len(warm) < needed:
            return [self.not_enough_data(have=len(warm), want=needed)]
        recent = warm  # a run that never learned is flat all along
        if curve.share_of_chance(float(np.median(warm.losses[-needed:]))) <= _NOTHING_LEARNED:
            # A loss that fell before may pause for a while.
            recent = warm.last(max(curve.needed_steps(2 * needed, 0.5), len(warm) // 2))
        line = trend(recent.losses)
        drop = 100 * line.drop / max(abs(line.early), 1e-12)
        if risen := self._risen(view, curve, needed):
            return [risen]
        if not self._flat(view, curve, recent, line):
            return [self.clear(value=drop, threshold=self.min_drop, unit="% of the loss")]
        untrained = curve.share_of_chance(line.late) > _NOTHING_LEARNED
        slower = curve.has_rates and not untrained
        finding = self.found(
            value=drop,
            threshold=self.min_drop,
            unit="% of the loss",
            steps=recent.span(),
            subject="loss",
            severity=Severity.SEVERE if untrained else Severity.WARNING,
            cause=f"over the last {len(recent)} steps the loss went from {line.early:.3g} to {line.late:.3g}, "
            f"within its noise of {line.error:.2g}; chance level is {curve.chance:.3g}",
            fix={"lr": lowered_rate(curve.peak_lr)} if slower else {},
            advice="" if slower else _ADVICE,
            confidence=0.8,
            evidence=Series.of("loss", curve.steps, curve.losses),
        )
        return [finding]

    def _flat(self, view: RunView, curve: LossCurve, recent: LossCurve, line: Trend) -> bool:
        """Return True if nothing more is learned where much is left to learn, at a rate that could teach it."""
        at_work = not curve.has_rates or np.nanmedian(recent.rates) >= _WORKING_RATE * curve.peak_lr
        accuracy = value_at(view.scalar("accuracy"), recent.steps)
        accurate = bool(np.isfinite(accuracy).any() and np.nanmean(accuracy) > _ACCURATE)
        level = curve.share_of_chance(line.late)
        falls = line.drop - _FALL_ERRORS * line.error > self.min_drop / 100 * line.early  # which noise cannot explain
        return bool(
            at_work
            and not accurate
            and level > _STUCK
            and (level > _NOTHING_LEARNED or len(recent) >= curve.needed_steps(0, 0.5))
            and not falls
            and line.largest_drop < _EXCLUDED_FALL[bool(level > _NOTHING_LEARNED)] * curve.chance
        )

    def _risen(self, view: RunView, curve: LossCurve, needed: int) -> Finding | None:
        # While a run goes on a rise may be a bump, which plain SGD leaves again: it must last longer.
        width = min(needed, max(_LEAST, len(curve) // 10)) * (1 if view.ended else 2)
        if len(curve) <= 2 * width:
            return None
        # A tenth of the window is fine enough to find the best level, and keeps long runs fast.
        every = max(1, width // 10)
        smooth = rolling(curve.losses[:-width], width, every)
        best = int(smooth.argmin()) * every
        low, high = float(smooth.min()), float(np.median(curve.losses[-width:]))
        both = np.concatenate([curve.losses[best : best + width], curve.losses[-width:]])
        rise, error = high - low, trend(both).error
        if rise <= self.max_rise / 100 * curve.chance or rise < _RISE_ERRORS * error:
            return None
        return self.found(
            value=100 * rise / curve.chance,
            threshold=self.max_rise,
            unit="% of the chance-level loss",
            steps=(curve.steps[best + width - 1], curve.steps[-1]),
            subject="loss",
            severity=Severity.SEVERE if curve.share_of_chance(high) > _NOTHING_LEARNED else Severity.WARNING,
            cause=f"the loss was {low:.3g} at step {curve.steps[best + width - 1]} and is {high:.3g} now",
            fix={"lr": suitable_rate(view, below=curve.peak_lr)} if curve.has_rates else {},
            advice="" if curve.has_rates else "Lower the learning rate to a third.",
            confidence=0.8,
            evidence=Series.of("loss", curve.steps, curve.losses),
        )
