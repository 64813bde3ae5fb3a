"""Reference of a run: accuracy of a linear model on the network's own features, beside that of the network itself.

It needs no assumption about the recipe. N images, D features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.statistics import Interval, wilson
from clearsight.core.tensors import Mode
from clearsight.core.view import Floats64, Ints, RunView
from clearsight.debugger.analysis.thumbnails import first_thumbnails

_FEATURES = "features"  # saved tensor: rows of features, label and prediction
_COARSE = 6  # pixels of a side of the thumbnails that a linear model gets
_FOLDS = 4
_RIDGES = (0.1, 1.0, 10.0)  # penalties, times the number of features; the best of the training folds is taken
_LEAST = 40  # images: with fewer every interval is too wide to say anything
_PER_CLASS = 2  # images of a class: rarer classes cannot be in training and test folds


@dataclass(frozen=True, slots=True)
class Reference:
    """Linear model on features saved at one moment, cross-validated.

    step: training steps done.  images: N.  correct: of the linear model.  network: of the network, on the same images.
    largest: images of the largest class, which always naming that class gets right.
    """

    step: int
    images: int
    correct: int
    network: int
    largest: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.images

    @property
    def chance(self) -> float:
        """Return the accuracy of always naming the largest class."""
        return self.largest / self.images

    @property
    def interval(self) -> Interval:
        """Return the 95 % interval of the linear model's accuracy."""
        return wilson(self.correct, self.images)

    @property
    def learnable(self) -> bool:
        """Return True if the linear model is better than chance, beyond its interval."""
        return self.interval.low > self.chance + 0.02


def references(view: RunView, mode: Mode = "train") -> list[Reference]:
    """Return the references of a mode in order of time; none where too few features were saved."""
    saved = [(at.train_step, value) for at, value in view.raw(_FEATURES, mode) if value.ndim == 2]
    return [found for step, value in saved if (found := reference(step, value)) is not None]


def pixel_reference(view: RunView, mode: Mode = "train") -> Reference | None:
    """Return the reference on thumbnails of the first images of a mode, which no network has seen before."""
    saved = first_thumbnails(view, mode)
    if saved is None:
        return None
    # Coarser than they are saved: a linear model of a few hundred images has no use for more pixels.
    pixels = saved.coarse(_COARSE)
    return reference(saved.step, np.column_stack([pixels.reshape(len(pixels), -1), saved.labels, saved.predictions]))


def reference(step: int, rows: npt.NDArray[Any]) -> Reference | None:
    """Return the reference of saved rows (N, D + 2): features, label, prediction; None for too few usable rows."""
    rows = rows[np.isfinite(rows).all(axis=1)].astype(float)
    if len(rows) < _LEAST or rows.shape[1] < 3:
        return None
    _, places, sizes = np.unique(rows[:, -2], return_inverse=True, return_counts=True)
    rows = rows[sizes[places] >= _PER_CLASS]
    if len(rows) < _LEAST:
        return None
    features, labels, predictions = rows[:, :-2], rows[:, -2].astype(np.int64), rows[:, -1].astype(np.int64)
    classes, places, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        return None
    correct = int((classes[cross_validated(features, places)] == labels).sum())
    return Reference(step, len(rows), correct, int((predictions == labels).sum()), int(sizes.max()))


def cross_validated(features: Floats64, labels: Ints) -> Ints:
    """Return predictions (N,) of ridge regression, each by a model that has not seen the image.

    features: (N, D).  labels: (N,) in [0, C). The folds hold the classes in equal shares, without any random draw.
    """
    return np.asarray(cross_validated_scores(features, labels).argmax(axis=1))


def cross_validated_scores(features: Floats64, labels: Ints) -> Floats64:
    """Return the scores (N, C) that `cross_validated` predicts by."""
    # Places within the class, in turn: every fold gets every class.
    order = np.argsort(labels, kind="stable")
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % _FOLDS
    targets = np.eye(int(labels.max()) + 1)[labels]
    scores = np.zeros_like(targets)
    for fold in range(_FOLDS):
        test = folds == fold
        scores[test] = ridge(features[~test], targets[~test], features[test])
    return scores


def ridge(train: Floats64, targets: Floats64, test: Floats64) -> Floats64:
    """Return scores (M, C) for test (M, D) of ridge regression from train (N, D) to targets (N, C).

    The penalty is the one of the least leave-one-out error on the training images.
    """
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 1e-6 * max(float(scale.max(initial=0.0)), 1e-30), scale, np.inf)  # constant: no influence
    train, test, level = (train - centre) / scale, (test - centre) / scale, targets.mean(axis=0)
    values, vectors = np.linalg.eigh(train @ train.T)
    rotated = vectors.T @ (targets - level)
    best, best_error = np.zeros_like(targets), np.inf
    for ridge in _RIDGES:
        inverse = 1 / (np.maximum(values, 0) + ridge * train.shape[1])
        weights = vectors @ (inverse[:, None] * rotated)
        # Golub, Heath and Wahba 1979: the error without an image is its weight over its diagonal element.
        error = float(np.square(weights / ((np.square(vectors) * inverse).sum(axis=1))[:, None]).sum())
        if error < best_error:
            best, best_error = weights, error
    return np.asarray(level + (test @ train.T) @ best)
