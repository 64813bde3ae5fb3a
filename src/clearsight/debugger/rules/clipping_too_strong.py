"""ClippingTooStrong: gradient clipping takes nearly everything from every gradient."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.learning_rates import optimizer_family
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import loss_curve

_USUAL = 1.0  # norm that people clip at


class ClippingTooStrong(Rule):
    """Found when the optimizer gets less than `kept` of the gradients that the backward passes computed.

    The gradient of the last weight is measured after the backward and again when the optimizer reads it; a factor by
    which a gradient scaler enlarged the loss is taken out. Only for optimizers whose updates follow the size of the
    gradient: Adam and its kin divide by it. Clear where the loss has halved all the same. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("NotLearning", "LossNotDecreasing", "LearningRateTooLow", "UnderfitCapacity", "WeightUpdateRatio"),
        *("Confusion", "ScheduleMismatch", "VanishingGradient", "UnchangedTensor", "StalledTraining"),
    )

    kept: float = setting(0.02, "smallest part of a gradient that may be left, as the median", above=0, below=1)
    points: int = setting(4, "saved steps that are needed", low=2)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.points)

    def check(self, view: RunView) -> list[Finding]:
        ratio = view.scalar("clip_ratio")
        known = np.isfinite(ratio.values) & (ratio.values > 0)
        if known.sum() < self.points:
            return [self.not_enough_data(have=int(known.sum()))]
        left = float(np.median(ratio.values[known])) * max(1.0, view.context.loop.loss_factor)
        adaptive = optimizer_family(view.context.optimizer) != "gradient"
        learned = loss_curve(view).has_learned
        if left >= self.kept or adaptive or learned:
            return [self.clear(value=left, threshold=self.kept, unit="of the gradient")]
        return [
            self.found(
                value=left,
                threshold=self.kept,
                unit="of the gradient",
                steps=(int(ratio.steps[0]), view.done()),
                subject="gradients",
                cause=f"the optimizer gets {left:.2g} of the gradients that the backward passes compute: they are "
                "clipped or scaled in between",
                fix={"clip_grad": _USUAL},
                advice=f"Clip at {_USUAL:g} or not at all, after scaler.unscale_(optimizer) where a scaler is used.",
                confidence=0.96,
                evidence=Series.of("part of the gradient that is left", ratio.steps, ratio.values),
            )
        ]
