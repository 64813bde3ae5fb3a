"""Whether training labels have anything to do with their images, judged by what validation images tell of theirs.

N images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clearsight.core.statistics import wilson
from clearsight.core.view import Floats64, Ints
from clearsight.debugger.analysis.reference import cross_validated, cross_validated_scores, ridge
from clearsight.debugger.analysis.thumbnails import Thumbnails, coarse

_LEAST = 100  # labelled images of each split
_SHARED = 0.9  # of the training images must be of classes of validation: other labels are another task
_LARGEST = 0.8  # share of a class above which an accuracy says little
_MARGIN = 0.05  # accuracy by which validation labels must be predictable, at the lower end of the interval
_POWER = 5.0  # standard errors of the agreement with random labels: what labels like those of validation would show
_RANDOM = 2.5  # standard errors up to which an agreement is one with random labels
# A model is much surer of images that are unlike its own: over augmentations that leave classes to see, its scores
# spread 0.7 to 1.4 times as wide on training images as on validation images, of crops without a class 5 times.
_ALIKE = (0.6, 1.6)
_COARSE, _EDGES = 6, 4  # squares of a side for brightness and for steps to the next pixel


@dataclass(frozen=True, slots=True)
class LabelRelation:
    """Accuracies of linear models on thumbnails.

    valid: on validation images, cross-validated.  across: on training images, of the model of all validation images.
    within: on training images, cross-validated.  chance: of a guess on training images, of the same class shares.
    images: training images.  related: False where the labels of training are as good as random, beyond doubt.
    """

    valid: float
    across: float
    within: float
    chance: float
    images: int
    related: bool


def label_relation(train: Thumbnails, valid: Thumbnails) -> LabelRelation | None:
    """Return the relation of labels and images; None where validation does not show what to expect of training."""
    train, valid = train.labelled, valid.labelled
    # In folds a class needs two images.
    classes, sizes = np.unique(valid.labels, return_counts=True)
    classes = classes[sizes >= 2]
    inside = np.isin(train.labels, classes)
    if len(classes) < 2 or inside.sum() < max(_LEAST, _SHARED * len(train)):
        return None
    train, valid = train.select(inside), valid.select(np.isin(valid.labels, classes))
    if min(len(train), len(valid)) < _LEAST:
        return None
    labels, valid_labels = np.searchsorted(classes, train.labels), np.searchsorted(classes, valid.labels)
    shares = [np.bincount(y, minlength=len(classes)) / len(y) for y in (labels, valid_labels)]
    if max(share.max() for share in shares) > _LARGEST:
        return None
    x, y = _features(valid.pixels), _features(train.pixels)
    held_out = cross_validated_scores(x, valid_labels)
    correct = int((held_out.argmax(axis=1) == valid_labels).sum())
    lower = wilson(correct, len(valid)).low
    scores = ridge(x, np.eye(len(classes))[valid_labels], y)
    # Labels that are not in the training sample leave a class without an image in the folds.
    seen, own = np.unique(labels, return_inverse=True)
    if len(seen) < 2:
        return None
    across, within = scores.argmax(axis=1), seen[cross_validated(y, own)]
    spread = float(scores.std() / max(float(held_out.std()), 1e-12))
    guess, error = _guess(across, labels, len(classes))
    if lower < shares[1].max() + _MARGIN or (lower - guess) / error < _POWER or not _ALIKE[0] <= spread <= _ALIKE[1]:
        return None
    agreements = [_agreement(predicted, labels, len(classes)) for predicted in (across, within)]
    return LabelRelation(
        valid=correct / len(valid),
        across=float((across == labels).mean()),
        within=float((within == labels).mean()),
        chance=guess,
        images=len(train),
        related=max(agreements) > _RANDOM,
    )


def random_agreement(predictions: Ints, labels: Ints) -> bool:
    """Return True if predictions (N,) agree with labels (N,) no more often than with labels in random order."""
    count = int(max(predictions.max(initial=0), labels.max(initial=0))) + 1
    return _agreement(predictions, labels, count) <= _RANDOM


def _agreement(predictions: Ints, labels: Ints, count: int) -> float:
    """Return by how many standard errors predictions agree with labels more often than with random ones."""
    guess, error = _guess(predictions, labels, count)
    return float((float((predictions == labels).mean()) - guess) / error)


def _guess(predictions: Ints, labels: Ints, count: int) -> tuple[float, float]:
    """Return the expected share of agreement with labels in random order, and its standard error."""
    shares = [np.bincount(values, minlength=count) / len(values) for values in (predictions, labels)]
    guess = float(shares[0] @ shares[1])
    return guess, float(np.sqrt(max(guess * (1 - guess), 1e-6) / len(labels)))


def _features(pixels: Floats64) -> Floats64:
    """Return brightness and steps to the next pixel in squares of the image, (N, D)."""
    across = np.abs(np.diff(pixels, axis=3, append=pixels[..., -1:]))
    down = np.abs(np.diff(pixels, axis=2, append=pixels[..., -1:, :]))
    parts = (coarse(pixels, _COARSE), coarse(across, _EDGES), coarse(down, _EDGES))
    return np.concatenate([part.reshape(len(pixels), -1) for part in parts], axis=1)
