"""DropoutTooHigh: a dropout layer sets nearly everything to 0."""

from __future__ import annotations

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import loss_curve

_USUAL = 0.5  # highest rate of published networks


class DropoutTooHigh(Rule):
    """Found when a dropout layer keeps less than 1 - `rate` of its inputs, and hardly anything is learned.

    Published networks use rates up to 0.5 (Srivastava et al. 2014, "Dropout", section 7.3 and figure 9: beyond 0.8
    units dropped the training error itself rises). SageMaker has no such rule.
    """

    explains = (
        *("NotLearning", "LossNotDecreasing", "UnderfitCapacity", "LossOscillating", "Confusion", "LearningRateTooLow"),
        *("AllZero", "VanishingGradient", "DeadRelu", "LearningRateTooHigh"),
    )

    rate: float = setting(0.8, "share of the inputs that a layer may drop", above=0, below=1)
    points: int = setting(12, "training steps that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(points=self.points)

    def check(self, view: RunView) -> list[Finding]:
        curve = loss_curve(view)
        if len(curve) < self.points:
            return [self.not_enough_data(have=len(curve))]
        dropouts = [layer for layer in view.context.layers if layer.kind == "dropout"]
        worst = max(dropouts, key=lambda layer: layer.rate, default=None)
        learned = curve.has_learned
        if worst is None or worst.rate < self.rate or learned:
            return [self.clear(value=worst.rate if worst else 0.0, threshold=self.rate, unit="dropped")]
        return [
            self.found(
                value=worst.rate,
                threshold=self.rate,
                unit="dropped",
                severity=Severity.WARNING,
                steps=curve.span(),
                subject=worst.name,
                cause=f"the dropout layer {worst.name} sets {worst.rate:.0%} of its inputs to 0 in training",
                fix={"dropout": 0.2},
                advice=f"Lower its rate to {_USUAL:g} or less.",
                confidence=0.93,
                evidence=Series.of("loss", curve.steps, curve.losses),
            )
        ]
