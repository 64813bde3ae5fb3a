"""Scores of the evaluations of a run, side by side: whether one of them is worse than another beyond chance.

R evaluations, N validation images, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.view import EvaluationTable, Floats64, Ints, PredictionTable, RunView
from clearsight.debugger.analysis.loss_curve import loss_curve

_ERRORS = 3.0  # standard errors: the best of several evaluations is compared, not any two
_WORSE_LOSS = 0.05  # of the chance-level loss


@dataclass(frozen=True, slots=True)
class BetterEpoch:
    """The best evaluation beside a worse one, both as indices into the table of evaluations."""

    table: EvaluationTable
    best: int
    worse: int

    @property
    def gap(self) -> float:
        """Accuracy of the best less that of the worse one."""
        return float(self.table.valid_accuracy[self.best] - self.table.valid_accuracy[self.worse])

    def words(self) -> str:
        """Return the scores of both in a sentence."""
        table, best, worse = self.table, self.best, self.worse
        return (
            f"epoch {table.epochs[worse]} has a validation loss of {table.valid_loss[worse]:.2f} and an accuracy of "
            f"{table.valid_accuracy[worse]:.0%}, epoch {table.epochs[best]} {table.valid_loss[best]:.2f} and "
            f"{table.valid_accuracy[best]:.0%}"
        )


def better_epoch(view: RunView, step: int, *, since: int = -1, min_accuracy: float = 0.0) -> BetterEpoch | None:
    """Return the evaluation that is better than the one after `step` training steps in every respect; None if none is.

    since: only evaluations after so many training steps.  min_accuracy: least gap. Its accuracy must be higher by three
    standard errors, its loss lower, and it must be no worse by the mean recall of the classes, by F1 and, of two
    classes, by the area under the ROC curve: a loop may choose its best epoch by any of these.
    """
    table, known = _known(view)
    worse = _place(table, known, step)
    if worse is None:
        return None
    chance = loss_curve(view).chance
    limit = _WORSE_LOSS * (chance if math.isfinite(chance) else 1.0)
    others = np.flatnonzero(known & (table.steps > since) & (table.valid_loss < table.valid_loss[worse] - limit))
    # The most accurate first: it is the one that is named.
    for best in sorted(map(int, others), key=lambda place: -table.valid_accuracy[place]):
        found = BetterEpoch(table, best, worse)
        if found.gap > min_accuracy and _is_sure(view, found):
            return found
    return None


def share_of_better(view: RunView, step: int, until: int) -> float:
    """Return the share of the evaluations after `step` steps, up to `until`, that are better than it in every respect.

    NaN where there is none, or where its own scores are not known.
    """
    table, known = _known(view)
    worse = _place(table, known, step)
    later = np.flatnonzero(known & (table.steps > step) & (table.steps <= until))
    if worse is None or not len(later):
        return math.nan
    first = _of_epoch(view, table, worse).measures()
    is_better = []
    for place in map(int, later):
        loss = table.valid_loss[place] < table.valid_loss[worse]
        accuracy = table.valid_accuracy[place] > table.valid_accuracy[worse]
        measured = zip(first, _of_epoch(view, table, place).measures(), strict=True)
        is_better.append(bool(loss and accuracy) and all(one <= other for one, other in measured))
    return float(np.mean(is_better))


def _known(view: RunView) -> tuple[EvaluationTable, npt.NDArray[np.bool_]]:
    """Return the evaluations, and which of them have a loss and an accuracy, (R,)."""
    table = view.evaluations()
    return table, np.isfinite(table.valid_loss) & np.isfinite(table.valid_accuracy)


def _place(table: EvaluationTable, known: npt.NDArray[np.bool_], step: int) -> int | None:
    """Return the index of the evaluation after `step` training steps; None where its scores are not known."""
    places = np.flatnonzero(known & (table.steps == step))
    return int(places[0]) if len(places) else None


def _is_sure(view: RunView, found: BetterEpoch) -> bool:
    """Return True if the difference is no chance, and holds by every measure that the predictions give."""
    table = found.table
    pair = [_of_epoch(view, table, place) for place in (found.worse, found.best)]
    worse, best = pair
    if not worse.size or not best.size:
        images = view.context.valid_size
        return images > 0 and found.gap > _ERRORS * math.sqrt(0.5 / images)  # the largest error, that of two halves
    is_right = [scores.is_right for scores in pair]
    if np.array_equal(worse.labels, best.labels):
        # The same images: only those that one of the two has right tell (McNemar 1947).
        error = math.sqrt(max(1, int(np.count_nonzero(is_right[0] != is_right[1])))) / worse.size
    else:
        error = math.sqrt(sum(right.mean() * (1 - right.mean()) / len(right) for right in is_right))
    measured = zip(worse.measures(), best.measures(), strict=True)
    return found.gap > _ERRORS * error and all(first <= second for first, second in measured)


@dataclass(frozen=True, slots=True)
class EpochPredictions:
    """Predictions of an evaluation, all (N,). positive: probability of class 1 where there are two, NaN elsewhere."""

    labels: Ints
    predictions: Ints
    positive: Floats64

    @property
    def size(self) -> int:
        """Number of images, N."""
        return len(self.labels)

    @property
    def is_right(self) -> Floats64:
        """(N,) 1 for an image whose class is right, else 0."""
        return np.asarray(self.labels == self.predictions, np.float64)

    def measures(self) -> tuple[float, ...]:
        """Return the mean recall of the classes, the mean F1, and the area under the ROC curve; 0 if not known."""
        classes = np.unique(self.labels)
        recalls, scores = [], []
        for name in classes:
            hits = np.count_nonzero((self.labels == name) & (self.predictions == name))
            called, there = np.count_nonzero(self.predictions == name), np.count_nonzero(self.labels == name)
            recalls.append(hits / there)
            scores.append(2 * hits / (called + there))
        if not recalls:
            return 0.0, 0.0, 0.0
        return float(np.mean(recalls)), float(np.mean(scores)), self._ranking()

    def _ranking(self) -> float:
        """Return the area under the ROC curve: the share of pairs of both classes in the right order, ties half."""
        if not np.isfinite(self.positive).all() or set(np.unique(self.labels)) != {0, 1}:
            return 0.0
        first, second = self.positive[self.labels == 0], np.sort(self.positive[self.labels == 1])
        above = len(second) - np.searchsorted(second, first, side="right")
        ties = np.searchsorted(second, first, side="right") - np.searchsorted(second, first, side="left")
        return float((above + ties / 2).mean() / len(second))


def _of_epoch(view: RunView, table: EvaluationTable, place: int) -> EpochPredictions:
    """Return the predictions of an evaluation; none where its epoch had several."""
    every: PredictionTable = view.predictions("eval")
    epoch = table.epochs[place]
    mask = (every.epochs == epoch) & (np.count_nonzero(table.epochs == epoch) == 1)
    labels, predictions = every.labels[mask], every.predictions[mask]
    binary = len(labels) > 0 and int(max(labels.max(), predictions.max())) <= 1
    true = every.true_probability[mask]
    positive = np.where(labels == 1, true, 1 - true) if binary else np.full(len(labels), np.nan)
    return EpochPredictions(labels, predictions, positive)
