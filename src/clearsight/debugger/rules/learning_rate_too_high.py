"""LearningRateTooHigh: steps so large that they undo what was learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.learning_rates import highest_usual_rate, suitable_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, rolling, value_at

_SMOOTH = 5  # steps of a median: neither one bad batch nor two count
_SETTLED = 5  # step from which the size of an update means something: a new head starts from almost nothing
_RISEN = 1.15  # of the loss of guessing: beyond what a warm-up does
_STUCK = 0.75  # of the loss of guessing: little learned
_ABSURD = 5.0  # times the highest rate that goes well with any network
_JUMP = 5.0  # of the rate, from one step to the next


@dataclass(frozen=True, slots=True)
class _Sign:
    """What gave it away. index: of the step in the course where it began."""

    value: float
    threshold: float
    unit: str
    begin: int
    cause: str
    severity: Severity = Severity.SEVERE
    confidence: float = 0.9


class LearningRateTooHigh(Rule):
    """Found when the loss leaves the range of guessing upwards, or updates as large as the weights teach nothing.

    Nothing that learns has to exceed the loss of guessing, log C, or the loss that it began with. Damage is: the median
    of five losses at `blow_up` times that; `sustained` times it over a fifth of the run; a loss that is no number any
    more after such growth; a rate beyond the usual with updates beyond `damaging` of the weights and little learned (or
    three times that and a loss that rose); or an update larger than `destroying` times the weights themselves. A loss
    that is merely noisy, a bump in the warm-up and a rate that is unusual but works are not found. The new rate follows
    from the optimizer and the measured updates, so that one change should be enough. SageMaker has no such rule: it
    shows there as LossNotDecreasing or ExplodingTensor.
    """

    severity = Severity.SEVERE
    explains = (
        *("EarlyNaN", "ExplodingTensor", "LossNotDecreasing", "LossOscillating", "HeadNotLearning", "DeadRelu"),
        *("SaturatedActivation", "WeightUpdateRatio", "VanishingGradient", "AllZero", "UnchangedTensor"),
        *("UnderfitCapacity", "Confusion", "ScheduleMismatch", "Overtraining", "Overfit"),
    )

    blow_up: float = setting(3.0, "loss over that of guessing, at once", above=1, unit="x the loss of guessing")
    sustained: float = setting(1.5, "loss over that of guessing, for a while", above=1, unit="x the loss of guessing")
    damaging: float = setting(0.1, "size of an update where little is learned", above=0, unit="of the weights")
    destroying: float = setting(1.0, "size of an update in any case", above=0, unit="of the weights")
    window: int = setting(15, "what counts as a while, at the least", low=5, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=_SMOOTH)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = loss_curve(view)
        if len(seen) + seen.lost < _SMOOTH or not len(seen):
            yield self.not_enough_data(have=len(seen))
            return
        ratio = view.scalar("update_ratio")
        fine = np.isfinite(ratio.values) & (ratio.steps >= _SETTLED)
        sizes, sized = ratio.values[fine], ratio.steps[fine]
        sign = (
            self._blown_up(seen)
            or self._not_a_number(view, seen, sizes)
            or self._high_for_long(seen)
            or self._teaches_nothing(view, seen, sizes, sized)
            or self._replaces_weights(view, seen, sizes, sized)
        )
        if sign is None:
            worst = rolling(seen.losses, _SMOOTH).max(initial=seen.losses[-1])
            yield self.clear(value=worst / seen.base, threshold=self.blow_up, unit="x the loss of guessing")
            return
        yield self._finding(view, seen, sign)

    def _blown_up(self, seen: LossCurve) -> _Sign | None:
        smooth = rolling(seen.losses, _SMOOTH)
        over = np.flatnonzero(smooth > self.blow_up * seen.base)
        if not len(over):
            return None
        worst = float(smooth.max())
        now = float(np.median(seen.losses[-_SMOOTH:]))
        cause = (
            f"the loss rose to {worst:.3g} by step {seen.steps[int(smooth.argmax()) + _SMOOTH // 2]}, where guessing "
            f"costs {seen.chance:.2f} and the first batch cost {seen.first:.2f}"
        )
        healed = seen.height(now) < 0.5
        severity = Severity.WARNING if healed else Severity.SEVERE
        unit = "x the loss of guessing"
        return _Sign(worst / seen.base, self.blow_up, unit, int(over[0]), cause, severity, 0.95)

    def _not_a_number(self, view: RunView, seen: LossCurve, sizes: Floats64) -> _Sign | None:
        loss = view.scalar("loss")
        gone = np.flatnonzero(~np.isfinite(loss.values))
        elsewhere = {"input", "loss"}  # of the model: no learning rate makes a logarithm of 0
        if not len(gone) or any(event.facts.get("where") in elsewhere for event in view.events("nonfinite")):
            return None
        step = int(loss.steps[gone[0]])
        before = seen.losses[seen.steps < step]
        if not len(before):
            return None
        grown = float(np.max(before[-3:]) / seen.base)
        size = float(sizes.max(initial=0.0))
        norm = view.scalar("grad_norm")
        norms = norm.values[np.isfinite(norm.values) & (norm.steps <= step)]
        steep = float(norms[-3:].max() / max(np.median(norms[:5]), 1e-12)) if len(norms) else 0.0
        if grown < self.sustained and size < self.destroying and steep < 100:
            return None
        cause = (
            f"the loss was {before[-1]:.3g} ({grown:.3g} times that of guessing) and no number any more at step {step}"
        )
        return _Sign(grown, self.sustained, "x the loss of guessing", len(before) - 1, cause)

    def _high_for_long(self, seen: LossCurve) -> _Sign | None:
        width = seen.wanted(self.window, 0.2) if seen.planned else self.window
        if len(seen) <= width:
            return None
        recent = seen.losses[-width:]
        level = float(np.median(recent))
        if level <= self.sustained * seen.base:
            return None
        cause = f"the loss has been at {level:.3g} for {width} steps, above the {seen.base:.2f} that guessing costs"
        return _Sign(level / seen.base, self.sustained, "x the loss of guessing", len(seen) - width, cause)

    def _teaches_nothing(self, view: RunView, seen: LossCurve, sizes: Floats64, sized: Ints) -> _Sign | None:
        """Updates beyond what weights stand at a rate beyond the usual, and a loss that stays high or rose."""
        beyond = sizes > self.damaging
        if not beyond.any() or not seen.peak > highest_usual_rate(view.facts):
            return None
        large = bool(sizes.max() > 3 * self.damaging)
        risen = large and float(rolling(seen.losses, 3).max(initial=0.0)) > _RISEN * seen.base
        warm = seen.warm()
        enough = len(warm) >= warm.wanted(2 * self.window, 0.25)
        level = float(np.median(warm.losses[-self.window :])) if enough else seen.floor
        stuck = seen.height(level) > _STUCK
        if not risen and not stuck:
            return None
        begin = int(np.searchsorted(seen.steps, sized[beyond][0]))
        lesson = f"the loss is still {level:.2f}" if stuck else "the loss rose above that of guessing"
        cause = f"a single step changed the weights by up to {sizes.max():.0%} of their size, and {lesson}"
        severity = Severity.SEVERE if stuck else Severity.WARNING
        return _Sign(sizes.max(), self.damaging, "of the weights", min(begin, len(seen) - 1), cause, severity)

    def _replaces_weights(self, view: RunView, seen: LossCurve, sizes: Floats64, sized: Ints) -> _Sign | None:
        absurd = bool(seen.peak > _ABSURD * highest_usual_rate(view.facts))
        border = round(3 * self.damaging, 6) if absurd else self.destroying
        beyond = sizes > border
        if not beyond.any():
            return None
        begin = min(int(np.searchsorted(seen.steps, sized[beyond][0])), len(seen) - 1)
        cause = f"at step {sized[beyond][0]} one update was {sizes.max():.3g} times as large as the weights themselves"
        return _Sign(sizes.max(), border, "of the weights", begin, cause, Severity.WARNING, 0.7)

    def _finding(self, view: RunView, seen: LossCurve, sign: _Sign) -> Finding:
        more: dict[str, Any] = {"fix": {"lr": suitable_rate(view, below=seen.peak)}} if seen.known else {}
        advice = "" if seen.known else "Lower the learning rate to a tenth."
        jumped = _jump(seen, sign.begin)
        if jumped is not None:
            step, before, after = jumped
            advice = f"The learning rate rose from {before:.2g} to {after:.2g} at step {step}: look at its schedule."
        ratio = view.scalar("update_ratio")
        shown = (Series.of("update ratio", ratio.steps, ratio.values),) if len(ratio) else ()
        rate = value_at(view.scalar("lr"), seen.steps[sign.begin : sign.begin + 1])
        said = f" at a learning rate of {rate[0]:.2g}" if np.isfinite(rate).all() else ""
        return self.found(
            value=sign.value,
            threshold=sign.threshold,
            unit=sign.unit,
            steps=(int(seen.steps[sign.begin]), view.done()),
            epoch=int(view.scalar("loss").epochs[np.searchsorted(view.scalar("loss").steps, seen.steps[sign.begin])]),
            subject="loss",
            cause=sign.cause + said,
            severity=sign.severity,
            confidence=sign.confidence,
            advice=advice,
            evidence=(Series.of("loss", seen.steps, seen.losses), *shown),
            **more,
        )


def _jump(seen: LossCurve, begin: int) -> tuple[int, float, float] | None:
    """The step at which the rate multiplied, shortly before the damage: (step, before, after)."""
    rates = seen.rates[: begin + _SMOOTH + 1]
    if len(rates) < 2 or not np.isfinite(rates).all():
        return None
    places = np.flatnonzero((rates[1:] > _JUMP * rates[:-1]) & (rates[:-1] > 0))
    if not len(places) or places[-1] == 0:
        return None
    place = int(places[-1]) + 1
    return int(seen.steps[place]), float(rates[place - 1]), float(rates[place])
