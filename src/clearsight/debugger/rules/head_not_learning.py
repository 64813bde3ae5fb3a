"""HeadNotLearning: the model is at chance level and stays there."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve, trend, value_at

_IMAGES = 200  # predictions that the accuracy needs, at least: fewer have too wide an interval
_LEARNED = 0.05  # accuracy above chance level that counts as learning


class HeadNotLearning(Rule):
    """Found when loss and accuracy both stay at chance level, though the learning rate is not 0.

    After the warm-up and a third of the plan the loss must be within `near` of log C without falling, and the accuracy
    must be no better than that of always predicting the largest class, by its 95 % interval. Anything between head and
    labels can cause it: frozen or forgotten parameters, dead layers, labels that do not belong to the images; rules
    that see which one come before this one. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = ("LossNotDecreasing", "UnderfitCapacity", "Confusion")

    near: float = setting(0.08, "distance from log C", above=0, below=0.5, unit="of log C")
    window: int = setting(30, "steps after the warm-up, at least", low=9, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> list[Finding]:
        curve, context = loss_curve(view), view.context
        classes = max(len(context.classes), len(context.class_counts))
        warm = curve.after_warm_up()
        needed = curve.needed_steps(self.window, 1 / 3)
        accuracy = value_at(view.scalar("accuracy"), warm.steps)
        if classes < 2 or len(warm) < needed or not np.isfinite(accuracy).any():
            missing = "" if len(warm) < needed else "the classes or the accuracy are not known"
            return [self.not_enough_data(have=len(warm), want=needed, cause=missing)]
        half = len(warm) // 2  # the later half: what the first steps looked like does not matter
        recent, accuracies = warm.losses[half:], accuracy[half:][np.isfinite(accuracy[half:])]
        images = len(accuracies) * max(context.batch_size, 1)
        if images < _IMAGES:
            return [self.not_enough_data(have=images, want=_IMAGES, cause="too few predictions to judge the accuracy")]
        total = sum(context.class_counts)
        chance = max(context.class_counts) / total if total else 1 / classes  # that of always the largest class
        accurate, level = _trimmed(accuracies), float(np.median(recent))
        line = trend(recent)
        distance = abs(level / curve.chance - 1)
        at_chance = wilson(accurate * images, images).low <= chance and accurate < chance + _LEARNED
        falling = line.drop > max(2 * line.error, 0.02 * curve.chance)
        stopped = curve.has_rates and np.nanmax(warm.rates) <= 0
        if not at_chance or falling or distance > self.near or stopped:
            return [self.clear(value=distance, threshold=self.near, unit="of log C")]
        finding = self.found(
            value=distance,
            threshold=self.near,
            unit="of log C",
            steps=(int(curve.steps[0]), view.done()),
            subject=next((parameter.layer for parameter in context.parameters if parameter.head), "head"),
            cause=f"after {view.done()} steps the loss is {level:.3g} (chance level: {curve.chance:.3g}), the accuracy "
            f"{accurate:.0%} (always the largest class: {chance:.0%})",
            advice="Check that the labels belong to the images, that the optimizer holds the head's parameters and "
            "that nothing cuts the gradient between loss and head.",
            confidence=0.85,
            evidence=(Series.of("loss", curve.steps, curve.losses), Series.of("accuracy", warm.steps, accuracy)),
        )
        return [finding]


def _trimmed(values: Floats64) -> float:
    """Return the mean without the largest and the smallest twentieth, at least one value each."""
    cut = max(1, len(values) // 20)
    return float(np.sort(values)[cut:-cut].mean())
