"""Thumbnails of the first images of training and of the first evaluation. N images, C channels, S pixels of a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.tensors import Mode
from clearsight.core.view import Floats64, RunView

_SAVED = "thumbnails"  # rows of pixels, label and prediction
_SIDE = 12  # pixels of a saved thumbnail


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Images of a mode in the order in which the model got them.

    step: training steps done.  pixels: (N, C, S, S).  labels, predictions: (N,), NaN where not known.
    """

    step: int
    pixels: Floats64
    labels: Floats64
    predictions: Floats64

    def __len__(self) -> int:
        return len(self.pixels)

    def select(self, rows: npt.NDArray[Any]) -> Thumbnails:
        """Return these images alone. rows: (M,) places or (N,) bool."""
        return Thumbnails(self.step, self.pixels[rows], self.labels[rows], self.predictions[rows])

    @property
    def labelled(self) -> Thumbnails:
        """Return the images whose labels are known."""
        return self.select(np.isfinite(self.labels))

    def coarse(self, side: int) -> Floats64:
        """Return the pixels as means of squares, (N, C, side, side); side must divide S."""
        return coarse(self.pixels, side)


def coarse(pixels: Floats64, side: int) -> Floats64:
    """Return means of squares, (N, C, side, side), of pixels (N, C, S, S); side must divide S."""
    count, channels, size, _ = pixels.shape
    width = size // side
    return np.asarray(pixels.reshape(count, channels, side, width, side, width).mean(axis=(3, 5)))


def first_thumbnails(view: RunView, mode: Mode) -> Thumbnails | None:
    """Return the first thumbnails of a mode, of an evaluation the most of one; None where none were saved."""
    saved = [(at, rows) for at, rows in view.raw(_SAVED, mode) if rows.ndim == 2]
    # A model that is watched again begins anew, and its images may be others.
    saved = [(at, rows) for at, rows in saved if (rows.shape[1] - 2) % _SIDE**2 == 0 and rows.shape[1] > 2]
    if not saved:
        return None
    at, rows = max(saved, key=lambda item: len(item[1])) if mode == "eval" else saved[0]
    rows = np.asarray(rows, float)
    rows = rows[np.isfinite(rows[:, :-2]).all(axis=1)]
    pixels = rows[:, :-2].reshape(len(rows), -1, _SIDE, _SIDE)
    return Thumbnails(at.train_step, pixels, rows[:, -2], rows[:, -1])


def both_thumbnails(view: RunView) -> tuple[Thumbnails, Thumbnails] | None:
    """Return those of training and of validation, of as many channels; None where they cannot be told apart."""
    loop = view.context.loop
    # Passes whose mode says another thing than their use: what is called validation may be training.
    if loop.misread or loop.misread_train:
        return None
    train, valid = first_thumbnails(view, "train"), first_thumbnails(view, "eval")
    if train is None or valid is None or train.pixels.shape[1] != valid.pixels.shape[1]:
        return None
    return train, valid
