"""Overfit: training still gets better, and validation no longer follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.loss_curve import TrainValidCurves, train_valid_curves

_ERRORS = 3.0  # standard errors, or standard deviations of the change from one evaluation to the next
_HARM = 0.05  # of the chance-level loss, by which validation got worse
_TRANSFERRED = 0.6  # share of what was learned in training that validation shows in a healthy run
_GAP = 0.05  # of the chance-level loss: gap from which validation no longer follows
_HARDLY = 0.25  # the same share, below which an end without a gain is no mere loss of time: 0.3 to 0.6 with few images
_STAGNANT = 5  # evaluations without a gain that are a loss of time
_INITIAL, _MOST_STEPS = 0.1, 50  # share of BatchNorm's initial statistics that counts, and how long it may count
_LEARNED = 0.9  # of the chance-level loss: above it training has memorised nothing yet


class Overfit(Rule):
    """Found when training is better than validation by more than chance, and validation stagnates or gets worse.

    For `patience` evaluations in a row the validation loss must exceed that of training by `ratio_threshold` x log C,
    and the accuracy must be worse by `min_accuracy` and by three standard errors of a validation set of this size.
    Evaluations at which BatchNorm still holds a tenth of its initial statistics do not count. Besides, validation must
    have stopped improving, and either have become worse since, or show less than three fifths of what was learned in
    training (the fall of the loss from chance level). A model that memorises its training images at no cost to
    validation is clear. Where validation got no worse it is an information, unless it has stagnated for five
    evaluations and shows less than a quarter: most short trainings on few images end so. `epoch` is where validation
    stopped following.

    SageMaker's rule of this name asks for (validation - training) / training loss > 0.1 in one step: as the training
    loss approaches 0 that is true of nearly every run that learns well. Its `start_step`, `patience` and
    `ratio_threshold` are accepted, the latter as a share of log C.
    """

    explains = ("Overtraining",)
    unused = ("tensor_regex",)

    patience: int = setting(2, "evaluations in a row", low=1, unit="evaluations")
    ratio_threshold: float = setting(0.2, "gap between the losses", above=0, unit="of the chance-level loss")
    min_accuracy: float = setting(0.1, "gap between the accuracies", low=0, below=1)
    start_step: int = setting(0, "steps that are left out", low=0, unit="steps")

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=self.patience + 2)

    def check(self, view: RunView) -> list[Finding]:
        curves = train_valid_curves(view)
        if len(curves) < self.needs().points:
            return [self.not_enough_data(have=len(curves))]
        settled = _settled(view.context)
        if curves.steps[-1] < settled:
            return [self.not_enough_data(have=view.done(), want=settled, of="steps that BatchNorm's statistics need")]
        gaps = (curves.valid - curves.train) / curves.chance
        is_worse = self._is_worse(curves, view.context.valid_size, gaps, max(self.start_step, settled))
        stopped = stagnant = curves.plateau_start()
        harmed = _is_harmed(curves)
        reasons = {
            "training is better than validation by no more than chance": not is_worse[-self.patience :].all(),
            "validation has improved since": stopped >= len(curves) - self.patience,
            "validation shows most of what was learned in training": not harmed
            and _transferred(curves) >= _TRANSFERRED,
        }
        if why := next((reason for reason, holds in reasons.items() if holds), ""):
            gap, unit = gaps[-1], "of the chance-level loss"
            return [self.clear(value=gap, threshold=self.ratio_threshold, unit=unit, cause=why)]
        following = np.flatnonzero(gaps <= _GAP)
        stopped = max(stopped, following[-1] + 1 if len(following) else 0)
        lasting = len(curves) - max(stagnant, curves.accuracy_plateau_start()) >= _STAGNANT
        accuracies = ""
        if math.isfinite(curves.valid_accuracy[-1]):
            accuracies = f"; accuracy {curves.train_accuracy[-1]:.0%} against {curves.valid_accuracy[-1]:.0%}"
        finding = self.found(
            value=gaps[-1],
            threshold=self.ratio_threshold,
            unit="of the chance-level loss",
            steps=(curves.steps[stopped], curves.steps[-1]),
            epoch=int(curves.epochs[stopped]),
            subject="validation loss",
            severity=Severity.WARNING if harmed or (lasting and _transferred(curves) < _HARDLY) else Severity.INFO,
            cause=f"since epoch {curves.epochs[stopped]} the training loss fell from {curves.train[stopped]:.2f} to "
            f"{curves.train[-1]:.2f} while that of validation went from {curves.valid[stopped]:.2f} to "
            f"{curves.valid[-1]:.2f}{accuracies}",
            fix=_remedy(view.context),
            advice="" if view.context.settings else "Stop earlier, or augment the training images more.",
            confidence=0.9 if math.isfinite(curves.valid_accuracy[-1]) else 0.7,
            evidence=curves.evidence(),
        )
        return [finding]

    def _is_worse(self, curves: TrainValidCurves, images: int, gaps: Floats64, first: int) -> npt.NDArray[np.bool_]:
        """Return a mask (R,) of the evaluations from step `first` where training is better beyond chance."""
        accuracy_gap = curves.train_accuracy - curves.valid_accuracy
        # An unknown accuracy has the largest error, that of 0.5; an accuracy of 0 or 1 would have none at all.
        accuracy = np.clip(np.nan_to_num(curves.valid_accuracy, nan=0.5), 0.02, 0.98)
        errors = np.sqrt(accuracy * (1 - accuracy) / images) if images else np.zeros(len(curves))
        worse = accuracy_gap > np.maximum(self.min_accuracy, _ERRORS * errors)
        worse |= np.isnan(accuracy_gap)  # unknown accuracies: the losses alone decide
        learned = curves.train < _LEARNED * curves.chance
        return np.asarray((gaps > self.ratio_threshold) & worse & learned & (curves.steps >= first))


def _settled(context: RunContext) -> int:
    """Return the steps until hardly anything is left of the statistics that BatchNorm layers began with.

    Until then evaluation mode is worse whatever the network has memorised. A running mean keeps (1 - momentum) of
    itself in each step (Ioffe and Szegedy 2015, section 3.1).
    """
    rates = [layer.rate for layer in context.layers if layer.is_batch_norm and not layer.frozen]
    steps = [math.ceil(math.log(_INITIAL) / math.log(1 - rate)) for rate in rates if 0 < rate < 1]
    return min(_MOST_STEPS, max(steps, default=0))


def _is_harmed(curves: TrainValidCurves) -> bool:
    """Return True if validation got worse."""
    rise = float(np.median(curves.valid[-3:])) - float(curves.smoothed().min())
    return rise > max(_HARM * curves.chance, _ERRORS * curves.jitter)


def _transferred(curves: TrainValidCurves) -> float:
    """Return the share of what was learned in training that validation shows; 1 where nothing was learned."""
    latest, train = float(np.median(curves.valid[-3:])), float(np.median(curves.train[-3:]))
    learned = curves.chance - train
    return (curves.chance - latest) / learned if learned > 0 else 1.0


def _remedy(context: RunContext) -> Mapping[str, Any]:
    """Return what makes memorising harder and is not done yet: augmentation, an earlier end, then fewer weights."""
    settings = context.settings
    if settings.get("augment", "none") in ("none", "light") and not context.cached:
        return {"augment": "standard", **({} if settings.get("patience") else {"patience": 5})}
    if not settings.get("patience"):
        return {"patience": 5}
    if context.pretrained and settings.get("freeze", "none") == "none":
        return {"freeze": "backbone"}
    decay = float(settings.get("weight_decay") or 0.0)
    return {"weight_decay": min(1.0, max(0.05, 5 * decay))}
