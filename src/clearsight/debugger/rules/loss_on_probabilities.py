"""LossOnProbabilities: the loss takes the softmax of what already went through one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.predictions import classes

_SHARE = 0.9  # of the batches: one odd batch decides nothing
_AGREE = 0.02  # a loss that is computed by the softmax of the outputs agrees with it but for rounding


class LossOnProbabilities(Rule):
    """Found when every row of the model's outputs adds up to 1 and lies in 0 to 1, and the loss expects logits.

    Cross entropy applies a softmax itself. On outputs that are probabilities already it can only fall to
    log(e + C - 1) - 1 of C classes, and its gradients fade long before: training looks slow, not broken. Logits that
    add up to 1 in every image of several batches do not occur by chance. A negative log likelihood expects
    log-probabilities, so the same outputs are wrong for it too. Where the loss is not known by name, it is found only
    if the recorded loss agrees with the cross entropy of the outputs taken as logits.
    """

    explains = ("LossNotDecreasing", "HeadNotLearning", "LearningRateTooLow", "UnderfitCapacity", "VanishingGradient")

    batches: int = setting(3, "saved batches that are needed", low=1)
    tolerance: float = setting(0.005, "how far a row's sum may be from 1: half precision rounds", above=0, high=0.1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.batches)

    def check(self, view: RunView) -> Iterator[Finding]:
        saved = [(at.step, value) for at, value in view.raw("output_range") if np.isfinite(value).all()]
        if len(saved) < self.batches:
            yield self.not_enough_data(have=len(saved), of="batches with saved outputs")
            return
        steps, ranges = [step for step, _ in saved], np.array([value for _, value in saved], float)
        low, high, total, spread = ranges.T
        inside = (low >= -self.tolerance) & (high <= 1 + self.tolerance)
        share = float(np.mean(inside & (np.abs(total - 1) <= self.tolerance) & (spread <= self.tolerance)))
        if share < _SHARE:
            yield self.clear(value=share, threshold=_SHARE)
            return
        takes = _takes(view.facts.loss)
        if not takes:
            agreement = _agreement(view)
            if len(agreement) < self.batches:
                yield self.not_enough_data(
                    have=len(agreement), of="losses beside answers: the outputs are probabilities, the loss is unknown"
                )
                return
            takes = "logits" if float(np.median(agreement)) <= _AGREE else ""
        if not takes:
            yield self.clear(value=share, threshold=_SHARE)
            return
        yield self._finding(view, takes, share, steps, total)

    def _finding(self, view: RunView, takes: str, share: float, steps: list[int], total: Floats64) -> Finding:
        what = f"in {share:.0%} of {len(steps)} saved batches every row of outputs lies in 0 to 1 and adds up to 1"
        count, loss = classes(view.facts, view.outcomes()), view.facts.loss or "the loss"
        floor = f" and cannot fall below {math.log(math.e + count - 1) - 1:.3g}" if count > 1 else ""
        means = {
            "logits": f"they are probabilities, of which {loss} takes the softmax again{floor}",
            "logs": f"they are probabilities, but {loss} expects their logarithms",
        }
        advice = {
            "logits": "Take the softmax at the end of the model out and give the loss the logits.",
            "logs": "End the model with LogSoftmax, or use CrossEntropyLoss on logits.",
        }
        return self.found(
            value=share,
            threshold=_SHARE,
            unit="of the batches",
            steps=(steps[0], steps[-1]),
            subject="outputs",
            cause=f"{what}: {means[takes]}",
            advice=advice[takes],
            confidence=0.98,
            evidence=Series.of("sum of a row of outputs", steps, total),
        )


def _takes(loss: str) -> str:
    """What a loss of that name wants: logits, logs (log-probabilities) or "": unknown."""
    word = "".join(filter(str.isalpha, loss.lower()))
    if "crossentropy" in word and "binary" not in word:
        return "logits"
    return "logs" if "nll" in word else ""


def _agreement(view: RunView) -> Floats64:
    """Relative difference of the recorded loss and the softmax's cross entropy of the outputs, per step of both."""
    table, loss = view.outcomes(), view.scalar("loss")
    steps, first = np.unique(table.steps, return_index=True)
    if not len(steps):
        return np.empty(0)
    surprise = -np.log(np.maximum(table.true_probability, 1e-30))
    means = np.add.reduceat(surprise, first) / np.diff([*first, len(table)])
    _, left, right = np.intersect1d(steps, loss.steps, return_indices=True)
    gap = np.abs(loss.values[right] - means[left]) / np.maximum(np.abs(means[left]), 1e-12)
    return np.asarray(gap[np.isfinite(gap)])
