"""LossOnProbabilities: the loss applies a softmax to outputs that are probabilities already."""

from __future__ import annotations

import math

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.predictions import class_count

_SHARE = 0.9  # of the batches must show it: one odd batch decides nothing
_EQUAL = 0.02  # relative difference up to which two losses are equal but for rounding


class LossOnProbabilities(Rule):
    """Found when every row of outputs sums to 1 with values in 0 to 1, and the loss expects logits.

    Cross entropy applies a softmax itself. On outputs that are probabilities already it cannot fall below log((e + C -
    1) / e) for C classes, and its gradients fade long before: training looks slow, not broken. Logits that sum to 1 in
    every image of several batches do not occur by chance. A negative log likelihood expects log-probabilities, so the
    same outputs are wrong for it too. Where the name of the loss is not known, it is found only if the recorded loss
    agrees with the cross entropy of the outputs taken as logits. SageMaker has no such rule.
    """

    explains = ("LossNotDecreasing", "NotLearning", "LearningRateTooLow", "UnderfitCapacity", "VanishingGradient")

    batches: int = setting(3, "saved batches that are needed", low=1)
    tolerance: float = setting(
        0.005, "largest distance of a row's sum from 1 (half precision rounds)", above=0, high=0.1
    )

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> list[Finding]:
        saved = [(at.step, value) for at, value in view.raw("output_range") if np.isfinite(value).all()]
        if len(saved) < self.batches:
            return [self.not_enough_data(have=len(saved), of="batches with saved outputs")]
        steps, ranges = [step for step, _ in saved], np.array([value for _, value in saved], float)
        low, high, total, spread = ranges.T
        inside = (low >= -self.tolerance) & (high <= 1 + self.tolerance)
        share = float(np.mean(inside & (np.abs(total - 1) <= self.tolerance) & (spread <= self.tolerance)))
        clear = [self.clear(value=share, threshold=_SHARE)]
        if share < _SHARE:
            return clear
        expects = _expected_inputs(view.context.loss)
        if not expects:
            differences = _loss_differences(view)
            if len(differences) < self.batches:
                of = "steps with loss and predictions; the outputs are probabilities, the loss is unknown"
                return [self.not_enough_data(have=len(differences), of=of)]
            if np.median(differences) > _EQUAL:
                return clear
            expects = "logits"
        observation = f"in {share:.0%} of {len(steps)} saved batches every row of outputs lies in 0 to 1 and sums to 1"
        classes, loss = class_count(view.context, view.predictions()), view.context.loss or "the loss"
        floor = f" and cannot fall below {math.log(math.e + classes - 1) - 1:.3g}" if classes > 1 else ""
        if expects == "logits":
            effect = f"and {loss} applies the softmax again{floor}"
            advice = "Remove the softmax at the end of the model, and give the loss the logits."
        else:
            effect = f"but {loss} expects their logarithms"
            advice = "End the model with LogSoftmax, or use CrossEntropyLoss on logits."
        finding = self.found(
            value=share,
            threshold=_SHARE,
            unit="of the batches",
            steps=(steps[0], steps[-1]),
            subject="outputs",
            cause=f"{observation}: they are probabilities, {effect}",
            advice=advice,
            confidence=0.98,
            evidence=Series.of("sum of a row of outputs", steps, total),
        )
        return [finding]


def _expected_inputs(loss: str) -> str:
    """Return the inputs that a loss of that name expects: logits, logs (log-probabilities) or "" for unknown."""
    name = "".join(filter(str.isalpha, loss.lower()))
    # Binary cross entropy expects probabilities.
    if "crossentropy" in name and "binary" not in name:
        return "logits"
    return "logs" if "nll" in name else ""


def _loss_differences(view: RunView) -> Floats64:
    """Return the relative difference of the recorded loss and the softmax cross entropy of the outputs, per step."""
    table, loss = view.predictions(), view.scalar("loss")
    steps, first = np.unique(table.steps, return_index=True)
    if not len(steps):
        return np.empty(0)
    surprise = -np.log(np.maximum(table.true_probability, 1e-30))
    means = np.add.reduceat(surprise, first) / np.diff([*first, len(table)])
    _, left, right = np.intersect1d(steps, loss.steps, return_indices=True)
    gap = np.abs(loss.values[right] - means[left]) / np.maximum(np.abs(means[left]), 1e-12)
    return np.asarray(gap[np.isfinite(gap)])
