"""Generalisation: validation beside training. R evaluations of which both losses are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve, noise_std

_TOLERANCE = 0.02  # of the chance-level loss: a validation loss this close to the lowest one is no worse


@dataclass(frozen=True, slots=True)
class TrainValidCurves:
    """Losses and accuracies of training and validation, all (R,); accuracies NaN where not known.

    steps: training steps done.  chance: loss of a model at chance level, 1 where it is not known.
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
        """Standard deviation of the validation loss from one evaluation to the next, its trend taken out."""
        return noise_std(self.valid)

    def smoothed(self) -> Floats64:
        """Return the validation loss (R,), each value the median of itself and its neighbours."""
        padded = np.concatenate([self.valid[:1], self.valid, self.valid[-1:]])
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1) if len(self) else self.valid

    def best(self) -> int:
        """Return the index of the evaluation with the lowest validation loss."""
        return int(np.argmin(self.smoothed()))

    def plateau_start(self) -> int:
        """Return the index of the evaluation after which validation got no better, beyond a tolerance."""
        smooth = self.smoothed()
        return int(np.argmax(smooth <= smooth.min() + max(_TOLERANCE * self.chance, self.jitter / 2)))


def train_valid_curves(view: RunView) -> TrainValidCurves:
    """Return training beside validation. The training loss of an evaluation is the mean since the one before."""
    table, curve = view.evaluations(), loss_curve(view)
    known = np.isfinite(table.train_loss) & np.isfinite(table.valid_loss)
    return TrainValidCurves(
        table.steps[known],
        table.epochs[known],
        table.train_loss[known],
        table.valid_loss[known],
        table.train_accuracy[known],
        table.valid_accuracy[known],
        curve.chance if math.isfinite(curve.chance) else 1.0,
    )
