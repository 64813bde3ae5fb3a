"""Confusion: one class is taken for another, while the rest is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import class_name, classes, confusion, last_step, validation_predictions

_IMAGES = 5  # of a class, below which its row says nothing
_SURELY = 0.7  # of max_off_diag: where the lower end of the 95 % interval must lie
_MOST = 0.5  # a class of which surely more than this goes elsewhere costs accuracy
_REST = 0.6  # recall of the other classes: a model that tells nothing apart confuses no pair
_EARLY = 3  # evaluations before which classes still sort themselves out
_MANY = 3  # findings at most, the worst


class Confusion(Rule):
    """Found when a class's validation images go to one other class by `max_off_diag`, or it is never answered.

    Both must hold in the last two evaluations, surely (the lower end of the 95 % interval above 0.7 x `max_off_diag`),
    and while the other classes are told apart; two similar classes that swap every sixth image are ordinary. It is
    a warning once the run is over and most of the class is surely lost, before that an information. SageMaker's
    rule of this name divides each diagonal entry by the sum of the diagonal, which is below 0.9 in every data set of
    two classes or more; here `min_diag` is the share of a class answered correctly.
    """

    max_off_diag: float = setting(0.35, "share of a class that goes to one other", above=0, high=1)
    min_diag: float = setting(0.65, "share of a class that is answered correctly", above=0, high=1)
    category_no: int | None = setting(None, "the one class to look at, by number [default: all]", low=0)
    unused = ("labels", "predictions", "labels_collection", "predictions_collection")

    def needs(self) -> Needs:
        return Needs(counted="rounds", points=_EARLY, mode="eval")

    def check(self, view: RunView) -> Iterator[Finding]:
        rounds = validation_predictions(view, _EARLY)
        wanted = 2 if view.ended else _EARLY
        if len(rounds) < wanted:
            yield self.not_enough_data(have=len(rounds), want=wanted, of="evaluations with answers")
            return
        count = classes(view.facts, *rounds)
        before, now = (confusion(one, count) for one in rounds[-2:])
        looked = [self.category_no] if self.category_no is not None else range(count)
        pairs = [pair for number in looked if number < count and (pair := _taken(before, now, number))]
        lost = sorted(filter(self._is_lost, pairs), key=lambda pair: -pair.share)
        for pair in lost[:_MANY]:
            yield self._finding(view, pair, rounds[-2:], now)
        if not lost:
            largest = max((pair.share for pair in pairs), default=0.0)
            yield self.clear(value=largest, threshold=self.max_off_diag, unit="of a class")

    def _is_lost(self, pair: _Taken) -> bool:
        swallowed = min(pair.share, pair.before) >= self.max_off_diag and pair.low >= _SURELY * self.max_off_diag
        return (swallowed or pair.never) and pair.recall < self.min_diag

    def _finding(self, view: RunView, pair: _Taken, rounds: list[PredictionTable], matrix: Ints) -> Finding:
        name, other = (class_name(view.facts, number) for number in (pair.number, pair.other))
        steps = [last_step(view, int(one.epochs[-1])) for one in rounds]
        cause = (
            f"{name} is never answered: none of its {pair.images} validation images is recognised"
            if pair.never
            else f"{pair.share:.0%} of the {pair.images} validation images of {name} are answered {other}"
        )
        lost = view.ended and (pair.never or pair.low >= _MOST)
        return self.found(
            value=1 - pair.recall if pair.never else pair.share,
            threshold=1 - self.min_diag if pair.never else self.max_off_diag,
            unit="of a class",
            severity=Severity.WARNING if lost else Severity.INFO,
            steps=(steps[0], steps[-1]),
            subject=name if pair.never else f"{name} as {other}",
            cause=cause,
            advice=f"Look at images and labels of {name} and {other}; add images of what tells them apart.",
            confidence=0.8,
            evidence=Series.of(f"answers to {name} by class", np.arange(len(matrix)), matrix[pair.number]),
        )


@dataclass(frozen=True, slots=True)
class _Taken:
    """A class and the one that it is most often taken for. low: lower end of the interval of the share."""

    number: int
    other: int
    images: int
    share: float
    before: float
    low: float
    recall: float
    never: bool


def _taken(before: Ints, now: Ints, number: int) -> _Taken | None:
    """How a class is answered in two evaluations; None where it, or what surrounds it, says too little."""
    images, earlier = int(now[number].sum()), int(before[number].sum())
    if min(images, earlier) < _IMAGES:
        return None
    off = now[number].copy()
    off[number] = -1
    other = int(np.argmax(off))
    rest = [k for k in range(len(now)) if k not in (number, other) and now[k].any()]
    if not rest or min(_recall(matrix, rest) for matrix in (before, now)) < _REST:
        return None
    return _Taken(
        number,
        other,
        images,
        share=int(now[number, other]) / images,
        before=int(before[number, other]) / earlier,
        low=wilson(int(now[number, other]), images).low,
        recall=int(now[number, number]) / images,
        never=not now[:, number].any() and not before[:, number].any(),
    )


def _recall(matrix: Ints, rows: list[int]) -> float:
    """Share answered correctly, over some classes."""
    images = matrix[rows].sum()
    return float(matrix[rows, rows].sum() / images) if images else 0.0
