"""GradientsNotCleared: every step goes along the sum of all gradients so far."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView


class GradientsNotCleared(Rule):
    """Found when the last layer still holds a gradient as the first backward pass after an optimizer step reaches it.

    Then the new gradient is added to it, and the steps follow the sum of all gradients since the start. What is left
    over is measured before the first backward pass of a step, so that batches which are accumulated on purpose do not
    count. Healthy loops leave exactly 0; the first step has nothing to leave over and is not looked at.
    """

    severity = Severity.SEVERE
    explains = (
        *("LearningRateTooHigh", "ExplodingTensor", "EarlyNaN", "LossNotDecreasing", "LossOscillating"),
        *("HeadNotLearning", "UnderfitCapacity", "WeightUpdateRatio", "DeadRelu", "SaturatedActivation"),
        *("BatchNormDrift", "Overtraining", "Confusion", "AllZero", "VanishingGradient", "ScheduleMismatch"),
    )

    share: float = setting(0.9, "share of the steps looked at that must show it", above=0, high=1)
    points: int = setting(3, "steps that must have been looked at", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.points + 1)

    def check(self, view: RunView) -> Iterator[Finding]:
        curve = view.scalar("stale_gradient")
        looked = (curve.steps > 1) & ~np.isnan(curve.values)
        steps, left = curve.steps[looked], curve.values[looked]
        if len(steps) < self.points:
            yield self.not_enough_data(have=len(steps), want=self.points, of="looks at what a step left over")
            return
        over = left > 0
        share = float(over.mean())
        if share < self.share:
            yield self.clear(value=share, threshold=self.share)
            return
        numbers = np.isfinite(left)
        yield self.found(
            value=share,
            threshold=self.share,
            unit="of the steps looked at",
            steps=(int(steps[over][0]), int(steps[over][-1])),
            subject="gradients of the last layer",
            cause=f"at {over.sum()} of {len(over)} steps looked at the gradient of the step before was still there and "
            "the new one was added to it",
            advice="Call optimizer.zero_grad() before loss.backward() in every step.",
            confidence=0.99,
            evidence=Series.of("stale gradient", steps[numbers], left[numbers]),
        )
