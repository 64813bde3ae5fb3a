"""LossNotDecreasing: training goes on and the loss no longer falls, or rises again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import lowered_rate, suitable_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, Trend, loss_curve, rolling, trend, value_at

_LEAST = 15  # steps that are compared, whatever is asked for
_SHARE = 0.4  # of the plan, to be seen before anything is said
_AT_WORK = 0.1  # of the peak rate: below it a flat loss is what the schedule wants
_STUCK = 0.7  # of the way from the least loss to that of guessing still to go
_UNTAUGHT = 0.94  # the same: nothing was learned at all
_BLUR = {False: 0.02, True: 0.04}  # of the loss of guessing: such a fall must be out of the question; untaught or not
_RIGHT = 0.9  # accuracy from which nothing is stuck
_TOLD = 1.645  # standard errors at which a fall is told from noise
_SURE = 4.0  # standard errors of a rise
_ADVICE = "Check the labels and that the optimizer holds what should learn, then try another learning rate."


class LossNotDecreasing(Rule):
    """Found when the training loss is high and flat: it fell by less than `min_drop` % beyond the noise of batches.

    Compared are medians of the first and the last third of the steps after the warm-up, of the last half where
    something was learned before, once they are `window` or 40 % of the plan: one lucky batch decides nothing. Flat
    means that a fall cannot be told from noise and that a fall worth having (4 % of the loss of guessing, 2 % where
    something was learned before) can be excluded. A low plateau is convergence, a flat end of a schedule is meant, and
    both are clear. Found too is a loss that rose by more than `max_rise` % of that of guessing and stays there.
    SageMaker's rule of this name compares two single points ten steps apart: with batches of 16 that fires by chance on
    most runs that learn, and on those that are done. Its `num_steps`, `diff_percent` and
    `increase_threshold_percent` are understood.
    """

    explains = ("UnderfitCapacity",)
    unused = ("collection_names", "tensor_regex", "use_losses_collection", "mode")

    window: int = setting(40, "steps that are looked at, at the least", low=1, unit="steps", aliases=("num_steps",))
    min_drop: float = setting(0.1, "smallest fall that counts", low=0, unit="% of the loss", aliases=("diff_percent",))
    max_rise: float = setting(
        30.0, "largest rise", above=0, unit="% of the loss of guessing", aliases=("increase_threshold_percent",)
    )

    def needs(self) -> Needs:
        return Needs(points=max(self.window, _LEAST))

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = loss_curve(view)
        warm = seen.warm() if len(seen) else seen
        want = seen.wanted(max(self.window, _LEAST), _SHARE)
        if len(warm) < want:
            yield self.not_enough_data(have=len(warm), want=want)
            return
        recent = warm  # what was never taught anything is flat all along
        if seen.height(float(np.median(warm.losses[-want:]))) <= _UNTAUGHT:
            # A loss that fell before may well rest for a while.
            recent = warm.last(max(seen.wanted(2 * want, 0.5), len(warm) // 2))
        line = trend(recent.losses)
        drop = 100 * line.drop / max(abs(line.before), 1e-12)
        risen = self._risen(view, seen, want)
        if risen is not None:
            yield risen
        elif self._flat(view, seen, recent, line):
            yield self._stuck(view, seen, recent, line, drop)
        else:
            yield self.clear(value=drop, threshold=self.min_drop, unit="% of the loss")

    def _flat(self, view: RunView, seen: LossCurve, recent: LossCurve, line: Trend) -> bool:
        """Whether nothing more is learned where there is much to learn, at a rate that could teach it."""
        working = not seen.known or np.nanmedian(recent.rates) >= _AT_WORK * seen.peak
        accuracy = value_at(view.scalar("accuracy"), recent.steps)
        right = bool(np.isfinite(accuracy).any() and np.nanmean(accuracy) > _RIGHT)
        height = seen.height(line.now)
        return bool(
            working
            and not right
            and height > _STUCK
            and (height > _UNTAUGHT or len(recent) >= seen.wanted(0, 0.5))
            and not self._falls(line)
            and line.most < _BLUR[bool(height > _UNTAUGHT)] * seen.chance
        )

    def _falls(self, line: Trend) -> bool:
        """Whether a fall can be told from noise."""
        return line.drop - _TOLD * line.error > self.min_drop / 100 * line.before

    def _stuck(self, view: RunView, seen: LossCurve, recent: LossCurve, line: Trend, drop: float) -> Finding:
        nothing = seen.height(line.now) > _UNTAUGHT
        where = f"guessing costs {seen.chance:.3g}"
        return self.found(
            value=drop,
            threshold=self.min_drop,
            unit="% of the loss",
            steps=recent.span(),
            subject="loss",
            severity=Severity.SEVERE if nothing else Severity.WARNING,
            cause=(
                f"over the last {len(recent)} steps the loss went from {line.before:.3g} to {line.now:.3g}, "
                f"within its noise of {line.error:.2g}; {where}"
            ),
            fix={"lr": lowered_rate(seen.peak)} if seen.known and not nothing else {},
            advice="" if seen.known and not nothing else _ADVICE,
            confidence=0.8,
            evidence=Series.of("loss", seen.steps, seen.losses),
        )

    def _risen(self, view: RunView, seen: LossCurve, want: int) -> Finding | None:
        width = min(want, max(_LEAST, len(seen) // 10))
        if len(seen) <= 2 * width:
            return None
        every = max(1, width // 10)
        smooth = rolling(seen.losses[:-width], width, every)
        best = int(smooth.argmin()) * every
        low, high = float(smooth.min()), float(np.median(seen.losses[-width:]))
        both = np.concatenate([seen.losses[best : best + width], seen.losses[-width:]])
        rise, error = high - low, trend(both).error
        if rise <= self.max_rise / 100 * seen.chance or rise < _SURE * error:
            return None
        return self.found(
            value=100 * rise / seen.chance,
            threshold=self.max_rise,
            unit="% of the loss of guessing",
            steps=(int(seen.steps[best + width - 1]), int(seen.steps[-1])),
            subject="loss",
            severity=Severity.SEVERE if seen.height(high) > _UNTAUGHT else Severity.WARNING,
            cause=f"the loss was {low:.3g} by step {seen.steps[best + width - 1]} and is {high:.3g} now",
            fix={"lr": suitable_rate(view, below=seen.peak)} if seen.known else {},
            advice="" if seen.known else "Lower the learning rate to a third.",
            confidence=0.8,
            evidence=Series.of("loss", seen.steps, seen.losses),
        )
