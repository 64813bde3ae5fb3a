"""Scores of a classifier from its logits and the labels. K heads, N images, C classes; torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.core.probabilities import Floats, softmax

Ints = npt.NDArray[np.integer[Any]]


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Return the mean negative log likelihood in nats, neither weighted nor smoothed."""
    return float(np.mean(image_losses(logits, labels)))


def image_losses(logits: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """Return the negative log likelihood of each image in nats, (N,)."""
    _fit(logits, labels)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)  # as in softmax
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return np.asarray(log_sum - shifted[np.arange(len(labels)), labels])


def accuracy(logits: Floats, labels: Ints) -> float:
    """Return the share of images whose largest logit is that of the true class."""
    return float(np.mean(correct(logits, labels)))


def correct(logits: Floats, labels: Ints) -> npt.NDArray[np.bool_]:
    """Return (N,), True for each image whose largest logit is that of the true class."""
    _fit(logits, labels)
    return np.asarray(logits.argmax(axis=1) == labels)


def top_k(logits: Floats, labels: Ints, k: int) -> float:
    """Return the share of images whose true class is among the k largest logits (1.0 with at most k classes)."""
    _fit(logits, labels)
    if logits.shape[1] <= k:
        return 1.0
    best = np.argpartition(-logits, k - 1, axis=1)[:, :k]  # their order does not matter, so no full sort
    return float(np.mean((best == np.asarray(labels)[:, None]).any(axis=1)))


def confusion(predicted: Ints, labels: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Return (C, C) counts: row true class, column predicted class."""
    cells = np.bincount(np.asarray(labels) * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True, slots=True)
class PerClass:
    """Scores of each class, (C,) arrays. A class that is never predicted has precision 0; one without images has recall
    0 and support 0.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    f1: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur in the labels."""
        present = self.support > 0
        return float(self.f1[present].mean()) if present.any() else 0.0


def per_class(table: npt.NDArray[np.int64]) -> PerClass:
    """Return precision, recall, F1 and support of each class from a confusion table (C, C)."""
    hits, predicted, support = np.diag(table).astype(float), table.sum(axis=0), table.sum(axis=1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=support > 0)
    both = predicted + support
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    return PerClass(precision, recall, f1, support)


def roc_auc(positive: Floats, labels: Ints) -> float | None:
    """Return the area under the ROC curve of scores (N,) for labels in {0, 1}; None when only one of the two occurs."""
    if len(np.unique(labels)) < 2:
        return None
    from sklearn.metrics import roc_auc_score  # here: it takes a second to import, and only two classes need it

    return float(roc_auc_score(labels, positive))


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Images whose confidence is in one bin: mean confidence, accuracy, number of images."""

    confidence: float
    accuracy: float
    count: int


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> list[CalibrationBin]:
    """Return the occupied ones of `bins` equal-width confidence bins on (0, 1], in order."""
    _fit(probabilities, labels)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    # Bins are open below and closed above; a confidence of exactly 0 belongs to the first one.
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        CalibrationBin(float(confidence[inside].mean()), float(correct[inside].mean()), int(inside.sum()))
        for inside in (places == index for index in range(bins))
        if inside.any()
    ]


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy, weighted by bin size; 0 is perfect.

    probabilities: (N, C), rows sum to 1.  labels: (N,) in [0, C).  Raises BadShape or EmptyInput.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
    """
    filled = reliability(probabilities, labels, bins)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in filled) / len(labels)


def scores(logits: Floats, labels: Ints) -> dict[str, float]:
    """Return the scores of a split: loss, accuracy, macro_f1, and roc_auc for two classes that both occur."""
    classes = logits.shape[1]
    table = confusion(logits.argmax(axis=1), labels, classes)
    values = {
        "loss": cross_entropy(logits, labels),
        "accuracy": accuracy(logits, labels),
        "macro_f1": per_class(table).macro_f1,
    }
    area = roc_auc(softmax(logits)[:, 1], labels) if classes == 2 else None
    return values if area is None else {**values, "roc_auc": area}


def stacked_scores(logits: Floats, labels: Ints) -> list[dict[str, float]]:
    """Return for each head the scores that `metrics.scores` gives, without a pass per head.

    logits: (K, N, C).  labels: (N,) int in [0, C).  A head with an output that is not finite has NaN in every score
    instead of raising an error: one bad head must not cost the others their scores.
    Raises BadShape if the two disagree on N, EmptyInput if N is 0.
    """
    _fit(logits, labels, axis=1)
    sound = np.isfinite(logits).all(axis=(1, 2))  # (K,)
    columns = _columns(logits[sound], labels)
    table = np.full((len(logits), len(columns)), np.nan)
    table[sound] = np.stack(list(columns.values()), axis=1)
    return [dict(zip(columns, row, strict=True)) for row in table.tolist()]


def _columns(logits: Floats, labels: Ints) -> dict[str, npt.NDArray[np.float64]]:
    """Return score name -> (K,) values, in the order of `metrics.scores`."""
    classes = logits.shape[2]
    predicted = logits.argmax(axis=2)  # (K, N)
    shifted = logits.astype(np.float64) - logits.max(axis=2, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=2)
    true = shifted[:, np.arange(len(labels)), labels]
    columns = {
        "loss": (np.log(sums) - true).mean(axis=1),
        "accuracy": (predicted == labels).mean(axis=1),
        "macro_f1": _macro_f1(predicted, labels, classes),
    }
    if classes == 2 and 0 < labels.sum() < len(labels):
        # Ranked by probability, as `metrics.scores` does: logits that round to the same probability are a tie.
        columns["roc_auc"] = _roc_auc(powers[:, :, 1] / sums, labels)
    return columns


def _macro_f1(predicted: Ints, labels: Ints, classes: int) -> npt.NDArray[np.float64]:
    """Return (K,), the mean F1 over the classes that occur in the labels, of predictions (K, N)."""
    heads = len(predicted)
    # One bincount for the confusion tables of all heads: cell (head, label, prediction) as one flat index.
    flat = np.arange(heads)[:, None] * classes**2 + labels * classes + predicted
    cells = np.bincount(flat.ravel(), minlength=heads * classes**2).reshape(heads, classes, classes)
    support = cells.sum(axis=2)  # (K, C), the same in every row
    both = cells.sum(axis=1) + support
    hits = np.diagonal(cells, axis1=1, axis2=2)
    present = np.bincount(labels, minlength=classes) > 0
    return np.asarray((2 * hits[:, present] / both[:, present]).mean(axis=1))


def _roc_auc(positive: npt.NDArray[np.float64], labels: Ints) -> npt.NDArray[np.float64]:
    """Return (K,), the areas under the ROC curve of scores (K, N), by ranks; ties have the mean of their ranks.

    Source: Hanley & McNeil 1982, "The Meaning and Use of the Area under a ROC Curve": the area is the Mann-Whitney U.
    """
    from scipy.stats import rankdata  # here, as above

    positives = int(labels.sum())
    twice = 2 * (rankdata(positive, axis=1) * labels).sum(axis=1)  # ranks are multiples of 1/2: the sum is exact
    return np.asarray((twice - positives * (positives + 1)) / (2.0 * positives * (len(labels) - positives)))


def _fit(outputs: Floats, labels: Ints, axis: int = 0) -> None:
    """Raise BadShape or EmptyInput unless the outputs have an entry for each label along the axis before the last."""
    if outputs.ndim != axis + 2 or outputs.shape[axis] != len(labels):
        raise BadShape("outputs and labels", f"their lengths differ: {outputs.shape} and {np.shape(labels)}")
    if len(labels) == 0:
        raise EmptyInput("outputs and labels", "there are none")
