"""Overfit: training goes on getting better, and validation has stopped following."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView
from clearsight.debugger.analysis.generalisation import TrainValidCurves, train_valid_curves

_SURE = 3.0  # standard errors, or times the change from one evaluation to the next
_HARM = 0.05  # of the loss of guessing, by which validation got worse
_CARRIED = 0.6  # of what was learned in training, found again in validation
_APART = 0.05  # of the loss of guessing: the gap at which validation no longer follows
_LEARNED = 0.9  # of the loss of guessing: above it training has learned nothing that could be memorised


class Overfit(Rule):
    """Found when training is better than validation by more than chance, and validation has stopped to follow or
    suffers.

    For `patience` evaluations in a row the validation loss must exceed that of training by `ratio_threshold` x log C,
    and accuracy must be worse by `min_accuracy` and by three standard errors of a validation set of this size. Besides,
    validation must have ceased to get better, and either have got worse since, or show less than three fifths of what
    was learned in training (the fall of the loss from that of guessing). A model that learns its training images by
    heart at no cost to validation is clear. `epoch` is where validation stopped following. SageMaker's rule of this
    name asks for (validation - training) / training loss > 0.1 in one step: as the training loss approaches 0 that is
    true of nearly every run that learns well. Its `start_step`, `patience` and `ratio_threshold` are understood, the
    latter as a share of log C.
    """

    explains = ("Overtraining",)
    unused = ("tensor_regex",)

    patience: int = setting(2, "evaluations in a row", low=1, unit="evaluations")
    ratio_threshold: float = setting(0.2, "gap between the losses", above=0, unit="of the loss of guessing")
    min_accuracy: float = setting(0.1, "gap between the accuracies", low=0, below=1)
    start_step: int = setting(0, "steps that are passed over", low=0, unit="steps")

    def needs(self) -> Needs:
        return Needs(counted="rounds", points=self.patience + 2)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen = train_valid_curves(view)
        if len(seen) < self.needs().points:
            yield self.not_enough_data(have=len(seen))
            return
        gaps = (seen.valid - seen.train) / seen.chance
        apart = self._apart(seen, view.facts.valid_size, gaps)
        lasting = apart[-self.patience :].all()
        stopped = seen.stopped()
        if not lasting or stopped >= len(seen) - self.patience or not self._matters(seen):
            yield self.clear(value=gaps[-1], threshold=self.ratio_threshold, unit="of the loss of guessing")
            return
        following = np.flatnonzero(gaps <= _APART)
        yield self._finding(view, seen, gaps, max(stopped, int(following[-1]) + 1 if len(following) else 0))

    def _matters(self, seen: TrainValidCurves) -> bool:
        """Whether validation got worse, or little of what was learned in training holds there."""
        now, train = float(np.median(seen.valid[-3:])), float(np.median(seen.train[-3:]))
        rise = now - float(seen.smoothed().min())
        harmed = rise > max(_HARM * seen.chance, _SURE * seen.jitter)
        return harmed or seen.chance - now < _CARRIED * (seen.chance - train)

    def _apart(self, seen: TrainValidCurves, images: int, gaps: Floats64) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(R,) whether training is better than validation beyond chance."""
        missing = seen.train_accuracy - seen.valid_accuracy
        right = np.clip(np.nan_to_num(seen.valid_accuracy, nan=0.5), 0.02, 0.98)
        errors = np.sqrt(right * (1 - right) / images) if images else np.zeros(len(seen))
        worse = missing > np.maximum(self.min_accuracy, _SURE * errors)
        worse |= np.isnan(missing)  # only losses are known
        learned = seen.train < _LEARNED * seen.chance
        return np.asarray((gaps > self.ratio_threshold) & worse & learned & (seen.steps >= self.start_step))

    def _finding(self, view: RunView, seen: TrainValidCurves, gaps: Floats64, stopped: int) -> Finding:
        accuracies = ""
        if math.isfinite(seen.valid_accuracy[-1]):
            accuracies = f"; accuracy {seen.train_accuracy[-1]:.0%} against {seen.valid_accuracy[-1]:.0%}"
        return self.found(
            value=gaps[-1],
            threshold=self.ratio_threshold,
            unit="of the loss of guessing",
            steps=(int(seen.steps[stopped]), int(seen.steps[-1])),
            epoch=int(seen.epochs[stopped]),
            subject="validation loss",
            cause=(
                f"since epoch {seen.epochs[stopped]} the training loss fell from {seen.train[stopped]:.2f} to "
                f"{seen.train[-1]:.2f} while that of validation went from {seen.valid[stopped]:.2f} to "
                f"{seen.valid[-1]:.2f}{accuracies}"
            ),
            fix=_remedy(view.facts),
            advice="" if view.facts.settings else "Stop earlier, or vary the training images more.",
            confidence=0.9 if math.isfinite(seen.valid_accuracy[-1]) else 0.7,
            evidence=(
                Series.of("training loss", seen.steps, seen.train),
                Series.of("validation loss", seen.steps, seen.valid),
            ),
        )


def _remedy(facts: RunContext) -> Mapping[str, Any]:
    """What makes memorising harder and is not done yet: other images, then an earlier end, then less to train."""
    settings = facts.settings
    if settings.get("augment", "none") in ("none", "light") and not facts.cached:
        return {"augment": "standard", **({} if settings.get("patience") else {"patience": 5})}
    if not settings.get("patience"):
        return {"patience": 5}
    if facts.pretrained and settings.get("freeze", "none") == "none":
        return {"freeze": "backbone"}
    decay = float(settings.get("weight_decay") or 0.0)
    return {"weight_decay": min(1.0, max(0.05, 5 * decay))}
