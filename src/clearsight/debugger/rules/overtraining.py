"""Overtraining: the best validation is long ago, and every further epoch makes it worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import train_valid_curves

_JITTERS = 3.0  # standard deviations of the change from one evaluation to the next
_PROPOSED_PATIENCE = 5  # evaluations


class Overtraining(Rule):
    """Found when validation was best more than `patience_validation` evaluations ago, and training goes on at its cost.

    The validation loss must have risen by `margin` x log C since, while the training loss fell. `epoch` is the best
    one: training should have ended there. A validation loss that merely stays constant costs time, not accuracy, and is
    clear. SageMaker's rule of this name fires when either loss has not improved by `delta` for so many steps, that is,
    on every run that has converged; `delta` and `patience_validation` are accepted, and LossNotDecreasing judges here
    what `patience_train` asks for there.
    """

    unused = ("patience_train", "tensor_regex")

    patience_validation: int = setting(10, "evaluations since the best", low=1, unit="evaluations")
    delta: float = setting(0.01, "fall of the validation loss that counts as an improvement", low=0)
    margin: float = setting(0.1, "rise of the validation loss since the best", above=0, unit="of the chance-level loss")

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=self.patience_validation + 1)

    def check(self, view: RunView) -> list[Finding]:
        curves = train_valid_curves(view)
        if len(curves) < self.needs().points:
            return [self.not_enough_data(have=len(curves))]
        smooth = curves.smoothed()
        best = int(np.argmax(smooth <= smooth.min() + self.delta))
        latest = float(np.median(curves.valid[-3:]))  # median of three: one bad last evaluation decides nothing
        rise = latest - float(smooth[best])
        worse = rise > self.margin * curves.chance and rise > _JITTERS * curves.jitter
        still_learning = float(np.median(curves.train[-3:])) < float(curves.train[best])
        if len(curves) - 1 - best < self.patience_validation or not worse or not still_learning:
            return [self.clear(value=rise / curves.chance, threshold=self.margin, unit="of the chance-level loss")]
        epoch, last = int(curves.epochs[best]), int(curves.epochs[-1])
        finding = self.found(
            value=rise / curves.chance,
            threshold=self.margin,
            unit="of the chance-level loss",
            steps=(curves.steps[best], curves.steps[-1]),
            epoch=epoch,
            subject="validation loss",
            cause=f"the validation loss was lowest in epoch {epoch} ({curves.valid[best]:.2f}) and is "
            f"{curves.valid[-1]:.2f} in epoch {last}, while the training loss fell from "
            f"{curves.train[best]:.2f} to {curves.train[-1]:.2f}",
            fix=_stop_earlier(view.context, epoch),
            evidence=curves.evidence()[::-1],
        )
        return [finding]


def _stop_earlier(context: RunContext, epoch: int) -> Mapping[str, Any]:
    """Return a fix that stops by validation, or at the best epoch where that is set already."""
    if context.settings and not context.settings.get("patience"):
        return {"patience": _PROPOSED_PATIENCE, "monitor": "loss"}
    return {"epochs": max(1, epoch)}
