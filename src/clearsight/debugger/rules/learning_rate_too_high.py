"""LearningRateTooHigh: steps so large that they undo what was learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import highest_usual_rate
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.learning_rates import suitable_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, rolling, value_at

_SMOOTH = 5  # steps of a median: one or two bad batches do not count
_FIRST_SIZED = 5  # first step whose update size is judged: before, a new head starts from almost nothing
_RISEN = 1.15  # times the chance-level loss: more than a warm-up causes
_RECOVERED, _GONE = 0.5, 0.2  # of the chance-level loss: after a rise it falls again, and the rise has cost nothing
_STUCK = 0.75  # of the chance-level loss: little is learned
_EXTREME = 5.0  # times the highest rate that trains any network well
_JUMP = 5.0  # times the rate of the step before: no schedule does that on purpose


@dataclass(frozen=True, slots=True)
class _Sign:
    """A sign of the damage. begin: index in the loss curve where it began."""

    value: float
    threshold: float
    unit: str
    begin: int
    cause: str
    severity: Severity = Severity.SEVERE
    confidence: float = 0.9


class LearningRateTooHigh(Rule):
    """Found when the loss rises above chance level, or updates as large as the weights teach nothing.

    A run that learns need not exceed the chance-level loss, log C, or the loss that it began with. Any of these counts
    as damage: the median of five losses at `blow_up` times that level; `sustained` times it over a fifth of the run; a
    loss that becomes NaN or infinite after such growth; a rate beyond the usual with updates beyond `damaging` of the
    weights and little learned (or three times that and a loss that rose); an update larger than `destroying` times the
    weights themselves. A rise after which the loss fell below a fifth of chance level is an information. A loss that is
    merely noisy, a bump in the warm-up and a rate that is unusual but works are not found.

    The new rate follows from the optimizer and the measured updates, so that one change should be enough. SageMaker has
    no such rule: it shows there as LossNotDecreasing or ExplodingTensor.
    """

    severity = Severity.SEVERE
    explains = (
        *("EarlyNaN", "ExplodingTensor", "LossNotDecreasing", "LossOscillating", "NotLearning", "DeadRelu"),
        *("SaturatedActivation", "WeightUpdateRatio", "VanishingGradient", "AllZero", "UnchangedTensor"),
        *("UnderfitCapacity", "Confusion", "ScheduleMismatch", "Overtraining", "Overfit"),
    )

    blow_up: float = setting(3.0, "loss over chance level, at once", above=1, unit="x the chance-level loss")
    sustained: float = setting(1.5, "loss over chance level, for a while", above=1, unit="x the chance-level loss")
    damaging: float = setting(0.1, "largest update where little is learned", above=0, unit="of the weights")
    destroying: float = setting(1.0, "largest update in any case", above=0, unit="of the weights")
    window: int = setting(15, "length of a while, at least", low=5, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=_SMOOTH)

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        if len(curve) + curve.nonfinite < _SMOOTH or not len(curve):
            return [self.not_enough_data(have=len(curve))]
        if curve.first < 0:  # an objective that is made larger, say: chance level is no measure of it
            return [self.clear(cause="the loss is negative from the first step on, which no learning rate explains")]
        ratio = view.scalar("update_ratio")
        # At such a rate the first update is no small beginning: it has replaced the weights already.
        extreme = curve.peak_lr > _EXTREME * highest_usual_rate(view.context.optimizer)
        usable = np.isfinite(ratio.values) & (ratio.steps >= (1 if extreme else _FIRST_SIZED))
        sizes, sized = ratio.values[usable], ratio.steps[usable]
        # The surest sign first: only one is reported.
        sign = (
            self._blown_up(curve)
            or self._became_nonfinite(view, curve, sizes)
            or self._high_for_long(curve)
            or self._teaches_nothing(view, curve, sizes, sized)
            or self._replaces_weights(view, curve, sizes, sized)
        )
        if sign is None:
            worst = rolling(curve.losses, _SMOOTH).max(initial=curve.losses[-1])
            return [self.clear(value=worst / curve.base, threshold=self.blow_up, unit="x the chance-level loss")]
        return [self._finding(view, curve, sign)]

    def _blown_up(self, curve: LossCurve) -> _Sign | None:
        smooth = rolling(curve.losses, _SMOOTH)
        over = np.flatnonzero(smooth > self.blow_up * curve.base)
        if not len(over):
            return None
        worst = float(smooth.max())
        latest = float(np.median(curve.losses[-_SMOOTH:]))
        cause = (
            f"the loss rose to {worst:.3g} by step {curve.steps[int(smooth.argmax()) + _SMOOTH // 2]}; chance level "
            f"is {curve.chance:.2f}, and the first batch had {curve.first:.2f}"
        )
        left = curve.share_of_chance(latest)
        severity = Severity.INFO if left < _GONE else Severity.WARNING if left < _RECOVERED else Severity.SEVERE
        return _Sign(worst / curve.base, self.blow_up, "x the chance-level loss", int(over[0]), cause, severity, 0.95)

    def _became_nonfinite(self, view: RunView, curve: LossCurve, sizes: Floats64) -> _Sign | None:
        loss = view.scalar("loss")
        broken = np.flatnonzero(~np.isfinite(loss.values))
        outside_model = {"input", "loss"}  # no learning rate makes a logarithm of 0
        if not len(broken) or any(event.details.get("where") in outside_model for event in view.events("nonfinite")):
            return None
        step = int(loss.steps[broken[0]])
        before = curve.losses[curve.steps < step]
        if not len(before):
            return None
        grown = float(np.max(before[-3:]) / curve.base)
        size = float(sizes.max(initial=0.0))
        norm = view.scalar("grad_norm")
        norms = norm.values[np.isfinite(norm.values) & (norm.steps <= step)]
        steep = float(norms[-3:].max() / max(np.median(norms[:5]), 1e-12)) if len(norms) else 0.0
        if grown < self.sustained and size < self.destroying and steep < 100:
            return None
        cause = (
            f"the loss was {before[-1]:.3g} ({grown:.3g} times chance level) and became NaN or infinite at step {step}"
        )
        return _Sign(grown, self.sustained, "x the chance-level loss", len(before) - 1, cause)

    def _high_for_long(self, curve: LossCurve) -> _Sign | None:
        width = curve.needed_steps(self.window, 0.2) if curve.planned else self.window
        if len(curve) <= width:
            return None
        level = float(np.median(curve.losses[-width:]))
        if level <= self.sustained * curve.base:
            return None
        cause = f"the loss has been at {level:.3g} for {width} steps, above chance level ({curve.base:.2f})"
        return _Sign(level / curve.base, self.sustained, "x the chance-level loss", len(curve) - width, cause)

    def _teaches_nothing(self, view: RunView, curve: LossCurve, sizes: Floats64, sized: Ints) -> _Sign | None:
        """Return a sign for updates and a rate beyond the usual, with a loss that stays high or rose."""
        too_large = sizes > self.damaging
        if not too_large.any() or not curve.peak_lr > highest_usual_rate(view.context.optimizer):
            return None
        large = bool(sizes.max() > 3 * self.damaging)
        risen = large and float(rolling(curve.losses, 3).max(initial=0.0)) > _RISEN * curve.base
        warm = curve.after_warm_up()
        enough = len(warm) >= warm.needed_steps(2 * self.window, 0.25)
        level = float(np.median(warm.losses[-self.window :])) if enough else curve.floor
        stuck = curve.share_of_chance(level) > _STUCK
        if not risen and not stuck:
            return None
        begin = int(np.searchsorted(curve.steps, sized[too_large][0]))
        outcome = f"the loss is still {level:.2f}" if stuck else "the loss rose above chance level"
        cause = f"one step changed the weights by up to {sizes.max():.0%} of their size, and {outcome}"
        severity = Severity.SEVERE if stuck else Severity.WARNING
        return _Sign(sizes.max(), self.damaging, "of the weights", min(begin, len(curve) - 1), cause, severity)

    def _replaces_weights(self, view: RunView, curve: LossCurve, sizes: Floats64, sized: Ints) -> _Sign | None:
        extreme = bool(curve.peak_lr > _EXTREME * highest_usual_rate(view.context.optimizer))
        limit = round(3 * self.damaging, 6) if extreme else self.destroying
        too_large = sizes > limit
        if not too_large.any():
            return None
        begin = min(int(np.searchsorted(curve.steps, sized[too_large][0])), len(curve) - 1)
        cause = f"at step {sized[too_large][0]} an update was {sizes.max():.3g} times as large as the weights"
        return _Sign(sizes.max(), limit, "of the weights", begin, cause, Severity.WARNING, 0.7)

    def _finding(self, view: RunView, curve: LossCurve, sign: _Sign) -> Finding:
        advice = _jump_advice(curve, sign.begin) or ("" if curve.has_rates else "Lower the learning rate to a tenth.")
        ratio = view.scalar("update_ratio")
        ratio_series = (Series.of("update ratio", ratio.steps, ratio.values),) if len(ratio) else ()
        rate = value_at(view.scalar("lr"), curve.steps[sign.begin : sign.begin + 1])
        at_rate = f" at a learning rate of {rate[0]:.2g}" if np.isfinite(rate).all() else ""
        return self.found(
            value=sign.value,
            threshold=sign.threshold,
            unit=sign.unit,
            steps=(int(curve.steps[sign.begin]), view.done()),
            epoch=int(view.scalar("loss").epochs[np.searchsorted(view.scalar("loss").steps, curve.steps[sign.begin])]),
            subject="loss",
            cause=sign.cause + at_rate,
            severity=sign.severity,
            confidence=sign.confidence,
            fix={"lr": suitable_rate(view, below=curve.peak_lr)} if curve.has_rates else {},
            advice=advice,
            evidence=(Series.of("loss", curve.steps, curve.losses), *ratio_series),
        )


def _jump_advice(curve: LossCurve, begin: int) -> str:
    """Return advice if the rate multiplied shortly before the damage, else ""."""
    rates = curve.rates[: begin + _SMOOTH + 1]
    places = np.flatnonzero((rates[1:] > _JUMP * rates[:-1]) & (rates[:-1] > 0))
    if not np.isfinite(rates).all() or not places.any():
        return ""
    before, after = rates[places[-1] : places[-1] + 2]
    return (
        f"The learning rate rose from {before:.2g} to {after:.2g} at step {curve.steps[places[-1] + 1]}: check its "
        "schedule."
    )
