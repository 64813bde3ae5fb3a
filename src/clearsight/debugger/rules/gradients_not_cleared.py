"""GradientsNotCleared: each step follows the sum of all gradients so far."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView


class GradientsNotCleared(Rule):
    """Found when a layer still holds a gradient at the first backward pass after an optimizer step.

    The first, a middle and the last weight of the optimizer are read, so that a loop is found too that clears a part.

    The new gradient is then added to it, and the steps follow the sum of all gradients since the start. The remaining
    gradient is measured before the first backward pass of a step, so batches that are accumulated on purpose do not
    count. Healthy loops leave exactly 0; before the first step nothing can remain, so it is not judged. SageMaker has
    no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("LearningRateTooHigh", "ExplodingTensor", "EarlyNaN", "LossNotDecreasing", "LossOscillating"),
        *("NotLearning", "UnderfitCapacity", "WeightUpdateRatio", "DeadRelu", "SaturatedActivation"),
        *("BatchNormDrift", "Overtraining", "Confusion", "AllZero", "VanishingGradient", "ScheduleMismatch"),
    )

    share: float = setting(0.9, "share of the measured steps that must show it", above=0, high=1)
    points: int = setting(3, "measured steps that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.points + 1)

    def check(self, view: RunView) -> list[Finding]:
        curve = view.scalar("stale_gradient")
        # Infinite remaining gradients count, so only NaN is left out: it marks steps that were not measured.
        measured = (curve.steps > 1) & ~np.isnan(curve.values)
        steps, remaining = curve.steps[measured], curve.values[measured]
        if len(steps) < self.points:
            of = "steps with a measured remaining gradient"
            return [self.not_enough_data(have=len(steps), want=self.points, of=of)]
        over = remaining > 0
        share = float(over.mean())
        if share < self.share:
            return [self.clear(value=share, threshold=self.share)]
        finite = np.isfinite(remaining)
        finding = self.found(
            value=share,
            threshold=self.share,
            unit="of the measured steps",
            steps=(int(steps[over][0]), int(steps[over][-1])),
            subject="gradients",
            cause=f"at {over.sum()} of {len(over)} measured steps the gradient of the step before was still there, and "
            "the new one was added to it",
            advice="Call zero_grad() before loss.backward() in every step, on the optimizer that steps.",
            confidence=0.99,
            evidence=Series.of("stale gradient", steps[finite], remaining[finite]),
        )
        return [finding]
