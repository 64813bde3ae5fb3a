"""Confusion: a class is predicted as another one, while the other classes are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import (
    class_count,
    class_name,
    confusion_matrix,
    last_step,
    validation_predictions,
)

_IMAGES = 5  # of a class: fewer make its row of the matrix meaningless
_LOWER_END = 0.7  # of max_off_diag, which the lower end of the 95 % interval must reach
_LOST = 0.5  # share that surely goes to the other class, from which on it costs accuracy
_OTHER_RECALL = 0.6  # recall of the other classes: a model at chance level confuses everything, not a pair
_EARLY = 3  # evaluations before which predictions still change too much
_MOST_FINDINGS = 3  # the worst ones: more would repeat the same advice


class Confusion(Rule):
    """Found when `max_off_diag` of a class's validation images go to one other class, or the class is never predicted.

    It must hold in the last two evaluations, surely (lower end of the 95 % interval above 0.7 x `max_off_diag`), and
    while the other classes are told apart; two similar classes that swap every sixth image are ordinary. The finding is
    a warning once the run has ended and most of the class is surely lost, before that an information. SageMaker's rule
    of this name divides each diagonal entry by the sum of the diagonal, which is below 0.9 in every dataset of two or
    more classes; here `min_diag` is the share of a class that is predicted correctly.
    """

    max_off_diag: float = setting(0.35, "share of a class that is predicted as one other", above=0, high=1)
    min_diag: float = setting(0.65, "share of a class that is predicted correctly", above=0, high=1)
    category_no: int | None = setting(None, "the class to judge, by index [default: all]", low=0)
    unused = ("labels", "predictions", "labels_collection", "predictions_collection")

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=_EARLY, mode="eval")

    def check(self, view: RunView) -> list[Finding]:
        evaluations = validation_predictions(view, _EARLY)
        needed = 2 if view.ended else _EARLY
        if len(evaluations) < needed:
            return [self.not_enough_data(have=len(evaluations), want=needed, of="evaluations with predictions")]
        count = class_count(view.context, *evaluations)
        earlier, latest = (confusion_matrix(table, count) for table in evaluations[-2:])
        chosen = [self.category_no] if self.category_no is not None else range(count)
        pairs = [pair for index in chosen if index < count and (pair := _pair(earlier, latest, index))]
        lost = sorted(filter(self._is_lost, pairs), key=lambda pair: -pair.share)
        largest = max((pair.share for pair in pairs), default=0.0)
        clear = self.clear(value=largest, threshold=self.max_off_diag, unit="of a class")
        return [self._finding(view, pair, evaluations[-2:], latest) for pair in lost[:_MOST_FINDINGS]] or [clear]

    def _is_lost(self, pair: _Pair) -> bool:
        absorbed = min(pair.share, pair.earlier) >= self.max_off_diag and pair.low >= _LOWER_END * self.max_off_diag
        return (absorbed or pair.never) and pair.recall < self.min_diag

    def _finding(self, view: RunView, pair: _Pair, evaluations: list[PredictionTable], matrix: Ints) -> Finding:
        name, other = (class_name(view.context, index) for index in (pair.index, pair.other))
        first, last = (last_step(view, int(table.epochs[-1])) for table in evaluations)
        cause = (
            f"{name} is never predicted: none of its {pair.images} validation images is recognised"
            if pair.never
            else f"{pair.share:.0%} of the {pair.images} validation images of {name} are predicted as {other}"
        )
        lost = view.ended and (pair.never or pair.low >= _LOST)
        return self.found(
            value=1 - pair.recall if pair.never else pair.share,
            threshold=1 - self.min_diag if pair.never else self.max_off_diag,
            unit="of a class",
            severity=Severity.WARNING if lost else Severity.INFO,
            steps=(first, last),
            subject=name if pair.never else f"{name} as {other}",
            cause=cause,
            advice=f"Check images and labels of {name} and {other}, and add images that show their difference.",
            confidence=0.8,
            evidence=Series.of(f"predictions of {name} by class", np.arange(len(matrix)), matrix[pair.index]),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A class and the one that it is most often predicted as. low: lower end of the interval of the share."""

    index: int
    other: int
    images: int
    share: float
    earlier: float
    low: float
    recall: float
    never: bool


def _pair(earlier: Ints, latest: Ints, index: int) -> _Pair | None:
    """Return the predictions of a class in two evaluations; None where it, or the other classes, say too little."""
    images, images_before = int(latest[index].sum()), int(earlier[index].sum())
    if min(images, images_before) < _IMAGES:
        return None
    off = latest[index].copy()
    off[index] = -1  # so that the diagonal is never the largest entry
    other = int(np.argmax(off))
    others = [k for k in range(len(latest)) if k not in (index, other) and latest[k].any()]
    if not others or min(_recall(matrix, others) for matrix in (earlier, latest)) < _OTHER_RECALL:
        return None
    return _Pair(
        index,
        other,
        images,
        share=int(latest[index, other]) / images,
        earlier=int(earlier[index, other]) / images_before,
        low=wilson(int(latest[index, other]), images).low,
        recall=int(latest[index, index]) / images,
        never=not latest[:, index].any() and not earlier[:, index].any(),
    )


def _recall(matrix: Ints, rows: list[int]) -> float:
    """Return the share of images predicted correctly, over some classes."""
    return float(matrix[rows, rows].sum() / max(matrix[rows].sum(), 1))
