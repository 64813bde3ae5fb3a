"""Validation beside training, evaluation by evaluation, as far as both losses are known. R evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve, noise_std

_TOLERANCE = 0.02  # of the loss of guessing: a validation loss within that of the lowest one is no worse


@dataclass(frozen=True, slots=True)
class TrainValidCurves:
    """Losses and accuracies of training and validation, all (R,); accuracies NaN where not known.

    steps: training steps done.  chance: the loss of guessing, 1 where nothing is known of it.
    """

    steps: Ints
    epochs: Ints
    train: Floats64
    valid: Floats64
    train_accuracy: Floats64
    valid_accuracy: Floats64
    chance: float

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def jitter(self) -> float:
        """By how much the validation loss changes from one evaluation to the next without getting anywhere."""
        return noise_std(self.valid)

    def smoothed(self) -> Floats64:
        """(R,) the validation loss, each the median of itself and its neighbours."""
        padded = np.concatenate([self.valid[:1], self.valid, self.valid[-1:]])
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1) if len(self) else self.valid

    def best(self) -> int:
        """The evaluation with the lowest validation loss."""
        return int(np.argmin(self.smoothed()))

    def stopped(self) -> int:
        """The evaluation from which on validation got no better, beyond a tolerance."""
        smooth = self.smoothed()
        return int(np.argmax(smooth <= smooth.min() + max(_TOLERANCE * self.chance, self.jitter / 2)))


def train_valid_curves(view: RunView) -> TrainValidCurves:
    """Training beside validation. The training loss of an evaluation is the mean since the one before."""
    rounds, seen = view.rounds(), loss_curve(view)
    fine = np.isfinite(rounds.train_loss) & np.isfinite(rounds.valid_loss)
    return TrainValidCurves(
        rounds.steps[fine],
        rounds.epochs[fine],
        rounds.train_loss[fine],
        rounds.valid_loss[fine],
        rounds.train_accuracy[fine],
        rounds.valid_accuracy[fine],
        seen.chance if math.isfinite(seen.chance) else 1.0,
    )
