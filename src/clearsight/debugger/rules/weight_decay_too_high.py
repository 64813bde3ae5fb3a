"""WeightDecayTooHigh: weight decay moves the weights further than the gradients do."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import optimizer_family
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Curve, Floats64, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve, value_at
from clearsight.debugger.analysis.tensors import weight_sizes

_PENALISED = 0.5  # of their size, to which no network shrinks by its gradients: healthy ones stay above 0.95
_LITTLE = 0.1  # part of the decay in an update, below which it explains nothing
_USUAL = {"adaptive": 0.01, "gradient": 1e-4, "": 1e-4}  # weight decay that people start from


class WeightDecayTooHigh(Rule):
    """Found when most of an update is weight decay, the weights shrink, and hardly anything is learned.

    The part of the decay is its term beside the gradient (weight decay x weights, where it passes through the
    gradient), or the rate x weight decay beside the measured update (AdamW); `share` of the saved steps must be above
    a half. In healthy training both come into balance far below that (Van Laarhoven 2017, "L2 regularization versus
    batch and weight normalization"). The weights must have lost `shrunk` of their size. Weights that lose half of it
    without such a decay have a penalty in the loss, which is found too. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "Confusion", "LossOscillating", "VanishingGradient"),
        *("WeightUpdateRatio", "LearningRateTooHigh", "LearningRateTooLow", "AllZero", "BatchNormDrift", "DeadRelu"),
        *("Overfit", "Overtraining", "UnchangedTensor", "ExplodingTensor", "PoorWeightInitialization"),
    )

    share: float = setting(0.5, "share of the saved steps in which the decay outweighs the gradient", above=0, below=1)
    shrunk: float = setting(0.1, "part of their size that the weights have lost", above=0, below=1)
    points: int = setting(4, "saved steps that are needed", low=2)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.points, collections=("weights",))

    def check(self, view: RunView) -> list[Finding]:
        decay, norms = view.context.update.weight_decay, weight_sizes(view)
        if len(norms) < self.points:
            return [self.not_enough_data(have=len(norms))]
        left, learned = float(norms.values[-1] / max(norms.values[0], 1e-30)), loss_curve(view).has_learned
        parts = _parts(view, norms) if decay else np.zeros(len(norms))
        usable = parts[np.isfinite(parts)]
        if left < _PENALISED and not learned and float(usable.max(initial=0.0)) < _LITTLE:
            return [self._penalty(view, norms, left)]
        if not decay:
            return [self.clear(value=0.0, threshold=self.share, cause="there is no weight decay")]
        if len(usable) < self.points:
            return [self.not_enough_data(have=len(usable))]
        share = float((usable > 0.5).mean())
        if share < self.share or left > 1 - self.shrunk or learned:
            return [self.clear(value=share, threshold=self.share, unit="of the saved steps")]
        usual = _USUAL[optimizer_family(view.context.optimizer)]
        return [
            self.found(
                value=share,
                threshold=self.share,
                unit="of the saved steps",
                steps=(int(norms.steps[0]), view.done()),
                subject="weight decay",
                cause=f"weight decay of {decay:g} makes up {float(np.median(usable)):.0%} of an update, and the "
                f"weights have shrunk to {left:.0%} of their size",
                fix={"weight_decay": usual},
                advice=f"Lower the weight decay, to {usual:g} say.",
                confidence=0.96,
                evidence=Series.of("size of the weights", norms.steps, norms.values),
            )
        ]

    def _penalty(self, view: RunView, norms: Curve, left: float) -> Finding:
        """Return the finding on weights that shrink although the optimizer does not decay them."""
        return self.found(
            value=1 - left,
            threshold=1 - _PENALISED,
            unit="of the size of the weights",
            steps=(int(norms.steps[0]), view.done()),
            subject="weights",
            cause=f"the weights have shrunk to {left:.0%} of their size, and the weight decay of the optimizer "
            f"({view.context.update.weight_decay:g}) has no part in it: the loss or the loop makes them smaller",
            advice="Lower the factor of the penalty that the loss adds for the size of the weights, or leave it out "
            "and use the optimizer's weight decay.",
            confidence=0.85,
            evidence=Series.of("size of the weights", norms.steps, norms.values),
        )


def _parts(view: RunView, norms: Curve) -> Floats64:
    """Return the part of the decay in the update at every saved step, 0 to 1; NaN where it is not known."""
    update = view.context.update
    with np.errstate(divide="ignore", invalid="ignore"):
        if update.decoupled:
            ratio = value_at(view.scalar("update_ratio"), norms.steps)
            rates = value_at(view.scalar("lr"), norms.steps)
            return np.where(rates > 0, np.minimum(rates * update.weight_decay / ratio, 1.0), np.nan)
        pull = update.weight_decay * norms.values
        return pull / (pull + value_at(view.scalar("grad_norm"), norms.steps))
