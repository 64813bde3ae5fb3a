"""Overtraining: the best validation is long past, and every further epoch makes it worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.generalisation import TrainValidCurves, train_valid_curves

_SURE = 3.0  # times the change from one evaluation to the next
_SOONER = 5  # evaluations of patience that are proposed


class Overtraining(Rule):
    """Found when the validation loss was lowest more than `patience_validation` evaluations ago and has risen by
    `margin` x log C since, while training went on getting better.

    `epoch` is the best one: training should have ended there. A validation loss that merely stays where it is costs
    time, not accuracy, and is clear. SageMaker's rule of this name fires when either loss has not improved by `delta`
    for so many steps, that is on every run that has converged; `delta` and `patience_validation` are understood, and
    what `patience_train` asks is LossNotDecreasing here.
    """

    unused = ("patience_train", "tensor_regex")

    patience_validation: int = setting(10, "evaluations since the best", low=1, unit="evaluations")
    delta: float = setting(0.01, "fall of the validation loss that counts as better", low=0)
    margin: float = setting(0.1, "rise of the validation loss since the best", above=0, unit="of the loss of guessing")

    def needs(self) -> Needs:
        return Needs(counted="rounds", points=self.patience_validation + 1)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = train_valid_curves(view)
        if len(seen) < self.needs().points:
            yield self.not_enough_data(have=len(seen))
            return
        smooth = seen.smoothed()
        best = int(np.argmax(smooth <= smooth.min() + self.delta))
        now = float(np.median(seen.valid[-3:]))
        rise = now - float(smooth[best])
        beyond = rise > self.margin * seen.chance and rise > _SURE * seen.jitter
        onward = float(np.median(seen.train[-3:])) < float(seen.train[best])
        if len(seen) - 1 - best < self.patience_validation or not beyond or not onward:
            yield self.clear(value=rise / seen.chance, threshold=self.margin, unit="of the loss of guessing")
            return
        yield self._finding(view, seen, best, rise)

    def _finding(self, view: RunView, seen: TrainValidCurves, best: int, rise: float) -> Finding:
        epoch, last = int(seen.epochs[best]), int(seen.epochs[-1])
        return self.found(
            value=rise / seen.chance,
            threshold=self.margin,
            unit="of the loss of guessing",
            steps=(int(seen.steps[best]), int(seen.steps[-1])),
            epoch=epoch,
            subject="validation loss",
            cause=(
                f"the validation loss was lowest in epoch {epoch} ({seen.valid[best]:.2f}) and is {seen.valid[-1]:.2f} "
                f"in epoch {last}, while the training loss fell from {seen.train[best]:.2f} to {seen.train[-1]:.2f}"
            ),
            fix=_earlier(view.facts, epoch),
            confidence=0.9,
            evidence=(
                Series.of("validation loss", seen.steps, seen.valid),
                Series.of("training loss", seen.steps, seen.train),
            ),
        )


def _earlier(facts: RunContext, epoch: int) -> Mapping[str, Any]:
    """Stop by validation, or at the best epoch where that is done already."""
    if facts.settings and not facts.settings.get("patience"):
        return {"patience": _SOONER, "monitor": "loss"}
    return {"epochs": max(1, epoch)}
