"""HeadNotLearning: the model guesses, and goes on guessing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve, trend, value_at

_IMAGES = 200  # answers that accuracy is judged by, at the least
_ABOVE = 0.05  # accuracy beyond guessing that would be learning


class HeadNotLearning(Rule):
    """Found when loss and accuracy both stay at guessing, though the learning rate is not 0.

    After the warm-up and a third of the plan the loss must be within `near` of log C without falling, and the accuracy
    no better than naming the largest class, by its 95 % interval. Whatever stands between head and labels does that:
    frozen or forgotten parameters, dead layers, labels that do not belong to the images; rules that see which one
    come before this one. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = ("LossNotDecreasing", "UnderfitCapacity", "Confusion")

    near: float = setting(0.08, "distance from log C", above=0, below=0.5, unit="of log C")
    window: int = setting(30, "steps after the warm-up, at the least", low=9, unit="steps")

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen, facts = loss_curve(view), view.facts
        classes = max(len(facts.classes), len(facts.class_counts))
        warm = seen.warm() if len(seen) else seen
        want = seen.wanted(self.window, 1 / 3)
        accuracy = value_at(view.scalar("accuracy"), warm.steps)
        if classes < 2 or len(warm) < want or not np.isfinite(accuracy).any():
            missing = "" if len(warm) < want else "the classes or the accuracy are not known"
            yield self.not_enough_data(have=len(warm), want=want, cause=missing)
            return
        half = len(warm) // 2
        recent, known = warm.losses[half:], accuracy[half:][np.isfinite(accuracy[half:])]
        images = len(known) * max(facts.batch_size, 1)
        if images < _IMAGES:
            yield self.not_enough_data(have=images, want=_IMAGES, cause="too few answers to judge by")
            return
        right, guess, level = _trimmed(known), _guess(facts, classes), float(np.median(recent))
        line = trend(recent)
        off = abs(level / seen.chance - 1)
        guessing = wilson(right * images, images).low <= guess and right < guess + _ABOVE
        falling = line.drop > max(2 * line.error, 0.02 * seen.chance)
        standing = seen.known and np.nanmax(warm.rates) <= 0
        if not guessing or falling or off > self.near or standing:
            yield self.clear(value=off, threshold=self.near, unit="of log C")
            return
        yield self.found(
            value=off,
            threshold=self.near,
            unit="of log C",
            steps=(int(seen.steps[0]), view.done()),
            subject=_head(facts),
            cause=(
                f"after {view.done()} steps the loss is {level:.3g} where guessing costs {seen.chance:.3g}, and "
                f"{right:.0%} of the answers are right where naming the largest class gives {guess:.0%}"
            ),
            advice=(
                "Check that the labels belong to the images, that the optimizer holds the head's parameters and that "
                "nothing cuts the gradient between loss and head."
            ),
            confidence=0.85,
            evidence=(
                Series.of("loss", seen.steps, seen.losses),
                Series.of("accuracy", warm.steps, accuracy),
            ),
        )


def _trimmed(values: Floats64) -> float:
    """The mean without the largest and the smallest twentieth, at least one of each."""
    cut = max(1, len(values) // 20)
    return float(np.sort(values)[cut:-cut].mean())


def _guess(facts: RunContext, classes: int) -> float:
    """Accuracy of naming the largest class."""
    total = sum(facts.class_counts)
    return max(facts.class_counts) / total if total else 1 / classes


def _head(facts: RunContext) -> str:
    return next((parameter.layer for parameter in facts.parameters if parameter.head), "head")
