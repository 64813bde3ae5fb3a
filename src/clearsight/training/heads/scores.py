"""stacked_scores: the scores of many heads on one split at once. K heads, N images, C classes; torch-free."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, EmptyInput

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


def stacked_scores(logits: Floats, labels: Ints) -> list[dict[str, float]]:
    """Return for each head the scores that `metrics.scores` gives, without a pass per head.

    logits: (K, N, C).  labels: (N,) int in [0, C).  A head with an output that is not finite has NaN in every score
    instead of raising an error: one bad head must not cost the others their scores.
    Raises BadShape if the two disagree on N, EmptyInput if N is 0.
    """
    if logits.ndim != 3 or logits.shape[1] != len(labels):
        raise BadShape("outputs and labels", f"their lengths differ: {logits.shape} and {np.shape(labels)}")
    if len(labels) == 0:
        raise EmptyInput("outputs and labels", "there are none")
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
    count = positive.shape[1]
    order = positive.argsort(axis=1)
    ranked = np.take_along_axis(positive, order, axis=1)
    places = np.arange(count)
    begins = np.ones(ranked.shape, dtype=bool)  # where a value differs from the one before it
    begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    ends = np.ones(ranked.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, count)[:, ::-1], axis=1)[:, ::-1]
    twice = ((first + last + 2) * labels[order]).sum(axis=1)  # twice the positives' ranks: whole numbers stay exact
    positives = int(labels.sum())
    return np.asarray((twice - positives * (positives + 1)) / (2.0 * positives * (count - positives)))
