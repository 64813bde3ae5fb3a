"""ScheduleMismatch: the learning rate's schedule was made for a run of another length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, trend

_OPEN = 0.15  # of the loss of guessing still to be learned when the rate sank
_RISING = 0.5  # of the run in which the rate only rises
_LEAST = 9  # steps before and after the rate sank
_SURE = 1.0  # standard errors: the standstill itself is the evidence
_RIGHT = 0.95  # accuracy at which there is little left to learn


class ScheduleMismatch(Rule):
    """Found when the rate is below `sunk` of its peak for more than `share` of the run though the loss was still
    falling when it sank, or when the run ends in its warm-up.

    A step schedule whose steps are too short for the run does the first: the model stands still for most of its time
    with a loss that it would have left behind. A schedule that ends low after a loss that had converged, and the low
    end that every cosine has, are clear. SageMaker has no such rule.
    """

    explains = ("LossNotDecreasing", "UnderfitCapacity", "WeightUpdateRatio")

    sunk: float = setting(0.015, "rate that teaches nothing any more", above=0, below=1, unit="of its peak")
    share: float = setting(0.45, "part of the run at such a rate", above=0, below=1, unit="of the run")

    def needs(self) -> Needs:
        return Needs(points=2 * _LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = loss_curve(view)
        if len(seen) < self.needs().points or not seen.known:
            cause = "" if seen.known or not len(seen) else "the learning rate is not known"
            yield self.not_enough_data(have=len(seen) if seen.known else 0, cause=cause)
            return
        planned = seen.planned or view.done()
        if view.ended and self._warming(seen, view.done()):
            yield self._unfinished(view, seen)
            return
        low = seen.rates < self.sunk * seen.peak
        low &= np.arange(len(seen)) > int(np.argmax(seen.rates == seen.peak))
        wasted = int(np.argmax(low)) if low.any() else len(seen)
        rest = max(planned, view.done()) - wasted
        share = rest / max(planned, view.done())
        watched = len(seen) - wasted >= max(_LEAST, 0.2 * planned) and (seen.planned or view.ended)
        sunken = low.any() and low[wasted:].all() and watched and share > self.share
        if not sunken or not self._was_learning(view, seen, wasted):
            value = share if low.any() else 0.0
            yield self.clear(value=value, threshold=self.share, unit="of the run")
            return
        yield self._sank(view, seen, wasted, share)

    def _warming(self, seen: LossCurve, done: int) -> bool:
        """Whether the rate only ever rose, in a run that went to its planned end."""
        rises = np.all(np.diff(seen.rates) >= 0) and seen.rates[-1] > seen.rates[int(_RISING * len(seen))]
        return bool(rises and done >= (seen.planned or done))

    def _was_learning(self, view: RunView, seen: LossCurve, wasted: int) -> bool:
        """Whether, while the rate was worth something, the loss fell to the end of that and had far to go."""
        if wasted < _LEAST:
            return False
        before = seen.losses[:wasted]
        line, late = trend(before), trend(before[wasted // 2 :])
        accuracy = view.scalar("accuracy")
        reached = accuracy.values[(accuracy.steps <= seen.steps[wasted]) & np.isfinite(accuracy.values)][-_LEAST:]
        done = len(reached) > 0 and float(reached.mean()) > _RIGHT
        level = float(np.median(seen.losses[wasted:]))
        falling = line.drop > _SURE * line.error and line.drop > 0 and late.drop > -late.error
        return bool(falling and not done and seen.height(level) > _OPEN)

    def _sank(self, view: RunView, seen: LossCurve, wasted: int, share: float) -> Finding:
        step, level = int(seen.steps[wasted]), float(np.median(seen.losses[wasted:]))
        return self.found(
            value=share,
            threshold=self.share,
            unit="of the run",
            steps=(step, view.done()),
            epoch=int(view.scalar("lr").epochs[np.searchsorted(view.scalar("lr").steps, step)]),
            subject="lr",
            cause=(
                f"the rate sank below {self.sunk:.1%} of its peak at step {step}, {share:.0%} of the run before "
                f"its end, and the loss, which was still falling, has been at {level:.2f} since"
            ),
            fix={"schedule": "cosine"},
            confidence=0.85,
            evidence=(
                Series.of("learning rate", seen.steps, seen.rates),
                Series.of("loss", seen.steps, seen.losses),
            ),
        )

    def _unfinished(self, view: RunView, seen: LossCurve) -> Finding:
        settings = view.facts.settings
        fix = {"warmup": 0.05} if float(settings.get("warmup") or 0.0) > 0.05 else {}
        return self.found(
            value=1.0,
            threshold=_RISING,
            unit="of the run",
            steps=seen.span(),
            subject="lr",
            cause=f"the run ended after {view.done()} steps while the learning rate rose, at {seen.rates[-1]:.2g}",
            fix=fix,
            advice="" if fix else "Shorten the warm-up, or train for longer than it lasts.",
            confidence=0.8,
            evidence=Series.of("learning rate", seen.steps, seen.rates),
        )
