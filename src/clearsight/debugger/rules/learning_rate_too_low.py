"""LearningRateTooLow: steps so small that the run ends before anything is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import optimizer_family, usual_rate
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import head_only, suitable_rate
from clearsight.debugger.analysis.loss_curve import LossCurve, loss_curve, trend, value_at

_WORKING_RATE = 0.5  # of the peak rate: steps in warm-up and at the end of a schedule are small on purpose
_ORDINARY = 0.2  # of the usual rate: from there on the rate is not the cause
_REACH = 0.02  # Adam: how far a weight can move in the whole run, rate x steps; a new head needs about 0.6
_EPSILON = 1e-3  # eps of Adam that is worth a look
_USUAL_EPSILON = 1e-8
_MOMENTUM = 0.9  # that the usual rate of SGD is meant for; Adam averages gradients where momentum adds them up
_ABOVE = 10.0  # times the gradients' size: from here on they hardly count in the divisor
_MOST = 0.5  # of the weights, by number
_RANDOM = 0.9  # share of the layers that looked random before the training
_MEASURED = 3  # updates that are needed to judge their size


@dataclass(frozen=True, slots=True)
class _Pace:
    """Size of the updates. value, threshold, unit: what shows that they are too small; words: the same as text."""

    value: float
    threshold: float
    unit: str
    words: str
    confidence: float


class LearningRateTooLow(Rule):
    """Found when hardly anything was learned, and the updates are too small for it to come in the planned steps.

    Both must hold after the warm-up. First, less than `max_progress` of the way from the first loss to the least
    possible one is done and, extended in a line, most of it would still be left at the planned end. Second, the updates
    are below `tiny` of the weights, or would together come to less than `reach` of them if all went the same way (of a
    head by Adam also: learning rate x steps below 0.02, so that no weight can get anywhere). A rate within a factor of
    five of the optimizer's usual one is never found, nor one that learns. A rate of 0 in every step is always found,
    and so is an eps of Adam far above the gradients, with which Adam is gradient descent at the rate lr / eps.
    So is a rate of most layers that is less than a twentieth of the highest, as one fine-tunes pretrained weights,
    where the weights of these layers were random. The new rate follows from the optimizer and the measured updates.
    SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("LossNotDecreasing", "NotLearning", "UnderfitCapacity", "WeightUpdateRatio"),
        *("Confusion", "ScheduleMismatch"),
    )

    tiny: float = setting(1e-4, "smallest typical update", above=0, below=1, unit="of the weights")
    reach: float = setting(0.05, "smallest sum of all planned updates", above=0, unit="of the weights")
    max_progress: float = setting(0.3, "largest share of the way that may be done", above=0, below=1)
    window: int = setting(12, "steps after the warm-up, at least", low=9, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        if len(curve) >= self.window and curve.has_rates and np.nanmax(curve.rates) <= 0:
            return [self._zero(view, curve)]
        if len(curve) >= self.window and (finding := self._epsilon(view, curve) or self._slow_layers(view, curve)):
            return [finding]
        working = curve.after_warm_up().at_rate(_WORKING_RATE)
        needed = curve.needed_steps(self.window, 0.15)
        if len(working) < needed or not curve.has_rates:
            cause = "" if curve.has_rates or not len(curve) else "the learning rate is not known"
            return [self.not_enough_data(have=len(working), want=needed, cause=cause)]
        line, steps = trend(working.losses), max(curve.planned, len(curve))
        progress = (curve.first - line.late) / max(curve.first - curve.floor, 1e-12)
        # The middles of the first and of the last third lie two thirds of the steps apart.
        per_step = max(0.0, line.drop) / (len(working) * 2 / 3)
        final_progress = progress + per_step * max(0, steps - view.done()) / max(curve.first, 1e-12)
        low = curve.share_of_chance(line.late) < 0.5
        pace = self._pace(view, working, steps)
        if pace is None or progress > self.max_progress or final_progress > 0.5 or low:
            return [self.clear(value=progress, threshold=self.max_progress, unit="of the way")]
        latest = float(np.median(working.losses[-max(1, len(working) // 3) :]))
        ratio = view.scalar("update_ratio")
        ratio_series = (Series.of("update ratio", ratio.steps, ratio.values),) if len(ratio) else ()
        finding = self.found(
            value=pace.value,
            threshold=pace.threshold,
            unit=pace.unit,
            steps=(int(working.steps[0]), view.done()),
            subject="loss",
            cause=f"the loss went from {curve.first:.3g} to {latest:.3g} in {len(curve)} steps, and {pace.words}",
            fix={"lr": suitable_rate(view, above=curve.peak_lr)},
            confidence=pace.confidence,
            evidence=(Series.of("loss", curve.steps, curve.losses), *ratio_series),
        )
        return [finding]

    def _zero(self, view: RunView, curve: LossCurve) -> Finding:
        rate = usual_rate(view.context.optimizer)
        return self.found(
            value=0.0,
            threshold=0.0,
            steps=curve.span(),
            subject="lr",
            cause=f"the learning rate was 0 in all {len(curve)} steps: nothing is trained",
            fix={"lr": rate} if rate else {},
            advice="Check the rate that the optimizer gets, and the factor that its scheduler multiplies it by.",
            confidence=0.99,
            evidence=Series.of("learning rate", curve.steps, curve.rates),
        )

    def _epsilon(self, view: RunView, curve: LossCurve) -> Finding | None:
        """Return a finding on an eps of Adam that is larger than the gradients, so that it decides the updates."""
        context, eps = view.context, view.context.update.eps
        norms = view.scalar("grad_norm").values
        numbers = sum(math.prod(parameter.shape) for parameter in context.parameters if parameter.optimized)
        if eps < _EPSILON or "adam" not in context.optimizer or not numbers or not np.isfinite(norms).any():
            return None
        typical = float(np.nanmedian(norms)) / math.sqrt(numbers)
        acts_like = curve.peak_lr / eps
        if eps < _ABOVE * typical or acts_like > _ORDINARY * usual_rate("sgd") / (1 - _MOMENTUM):
            return None
        return self.found(
            value=eps,
            threshold=_ABOVE * typical,
            steps=curve.span(),
            subject="eps",
            severity=Severity.WARNING,
            cause=f"eps of {eps:g} is {eps / max(typical, 1e-30):.1g} times the size of a gradient ({typical:.1g}): "
            f"the updates are the gradients times {acts_like:.2g}",
            fix={"eps": _USUAL_EPSILON},
            advice=f"Leave eps at {_USUAL_EPSILON:g}, or raise the learning rate with it.",
            confidence=0.9,
            evidence=Series.of("loss", curve.steps, curve.losses),
        )

    def _slow_layers(self, view: RunView, curve: LossCurve) -> Finding | None:
        """Return a finding on layers with random weights and a rate for pretrained ones."""
        slow, random = view.context.update.slow_share, view.context.random_start
        if slow < _MOST or random is None or random < _RANDOM:
            return None
        return self.found(
            value=slow,
            threshold=_MOST,
            unit="of the weights",
            severity=Severity.WARNING,
            steps=curve.span(),
            subject="rates of the layers",
            cause=f"{slow:.0%} of the weights have less than a twentieth of the highest learning rate, as suits "
            "pretrained weights, but they began as random numbers",
            advice="Load pretrained weights, and check what load_state_dict returns, or give all layers the same rate.",
            confidence=0.85,
            evidence=Series.of("loss", curve.steps, curve.losses),
        )

    def _pace(self, view: RunView, working: LossCurve, steps: int) -> _Pace | None:
        """Return what shows that the steps are too small, if anything does."""
        context, peak = view.context, working.peak_lr
        if optimizer_family(context.optimizer) and peak > _ORDINARY * usual_rate(context.optimizer):
            return None
        ratio = view.scalar("update_ratio")
        # Updates in the warm-up and at the end of a schedule are small on purpose.
        rates = value_at(view.scalar("lr"), ratio.steps)
        sizes = ratio.values[np.isfinite(ratio.values) & (rates >= _WORKING_RATE * peak)]
        if len(sizes) < _MEASURED:
            if not optimizer_family(context.optimizer) or peak > 0.01 * usual_rate(context.optimizer):
                return None
            words = f"the rate of {peak:.1g} is a hundredth or less of the usual {usual_rate(context.optimizer):.1g}"
            return _Pace(peak, 0.01 * usual_rate(context.optimizer), "learning rate", words, 0.6)
        size = float(np.median(sizes))
        if size <= 0:
            return None  # nothing moves at all: the rate is not the cause
        words = f"one step changes the weights by {size:.1g} of their size"
        if size < self.tiny:
            return _Pace(size, self.tiny, "of the weights", words, 0.95)
        if size * steps < self.reach:
            words += f", all {steps} together by at most {size * steps:.1g}"
            return _Pace(size * steps, self.reach, "of the weights", words, 0.85)
        if optimizer_family(context.optimizer) == "adaptive" and head_only(context) and peak * steps < _REACH:
            words = f"at a rate of {peak:.1g} no weight can move further than {peak * steps:.1g} in {steps} steps"
            return _Pace(peak * steps, _REACH, "rate x steps", words, 0.85)
        return None
