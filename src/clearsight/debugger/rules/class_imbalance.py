"""ClassImbalance: some classes are rare, nothing makes up for it, and the model passes them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Floats64, Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import (
    class_name,
    classes,
    confusion,
    join_names,
    last_step,
    pick,
    training_steps,
    validation_predictions,
)

_IMAGES = 5  # of the small classes that must have been answered
_BEHIND = 0.2  # by which the recall of small classes surely lies below that of the large ones
_EARLY = 3  # epochs: before them even a model that will learn small classes has not yet


class ClassImbalance(Rule):
    """Found when the largest class has `max_ratio` times the images of a small one and the small one is passed over.

    Passed over means that `max_missed` of its images are answered wrongly, surely more often (95 % intervals) than
    those of the large classes, in the last two validations, or in the last two epochs of training where validation has
    too few. SageMaker's rule of this name speaks at either alone: a ratio of 10 that does no harm, or a class that is
    merely hard. Where the loss is weighed or classes are drawn evenly it is clear.
    """

    explains = ("Confusion", "LabelNoise")

    max_ratio: float = setting(10.0, "largest class over a small one", above=1, aliases=("threshold_imbalance",))
    max_missed: float = setting(
        0.7, "share of a small class answered wrongly", above=0, high=1, aliases=("threshold_misprediction",)
    )
    images: int = setting(100, "answered training images that are needed", low=1, aliases=("samples",))
    unused = ("argmax", "labels_regex", "predictions_regex")

    def needs(self) -> Needs:
        return Needs(counted="outcomes", points=self.images)

    def check(self, view: RunView) -> Iterator[Finding]:
        table, settings = view.outcomes(), view.facts.settings
        counts, exact = _counts(view, table)
        if len(table) < self.images or counts.max(initial=0) == 0:
            yield self.not_enough_data(have=len(table))
            return
        ratios = _ratios(counts, exact=exact)
        small = np.flatnonzero(ratios >= self.max_ratio)
        evened = settings.get("class_weights") == "balanced" or settings.get("sampling") == "balanced"
        if not len(small) or evened or _drawn_evenly(table, small, self.max_ratio):
            yield self.clear(value=float(ratios.max()), threshold=self.max_ratio, unit="times")
            return
        rounds = _rounds(view, small)
        _, epochs = training_steps(view)
        if len(rounds) < 2 or not (view.ended or epochs.max(initial=0) >= _EARLY):
            yield self.not_enough_data(have=len(rounds), want=2, of=f"rounds with {_IMAGES} images of small classes")
            return
        missed = [_missed(one, small, classes(view.facts, table, one), self.max_missed) for one in rounds]
        if not all(share >= self.max_missed for share, _ in missed):
            yield self.clear(value=missed[-1][0], threshold=self.max_missed, unit="of small classes missed")
            return
        yield self._finding(view, counts, ratios, rounds, missed[-1])

    def _finding(
        self,
        view: RunView,
        counts: Ints,
        ratios: Floats64,
        rounds: Sequence[PredictionTable],
        worst: tuple[float, tuple[int, ...]],
    ) -> Finding:
        share, missed = worst
        names = [class_name(view.facts, number) for number in missed]
        largest = int(np.argmax(counts))
        first, last = (last_step(view, int(one.epochs[-1])) for one in (rounds[0], rounds[-1]))
        return self.found(
            value=float(ratios[list(missed)].max()),
            threshold=self.max_ratio,
            unit="times",
            steps=(first, last),
            epoch=int(rounds[0].epochs[0]),
            subject=names[0],
            cause=(
                f"{class_name(view.facts, largest)} has {counts[largest]} training images, {join_names(names[:3])} "
                f"{counts[list(missed)].min()}, and {share:.0%} of the latter are answered wrongly"
            ),
            fix={"class_weights": "balanced"},
            confidence=0.9,
            evidence=Series.of("training images by class", np.arange(len(counts)), counts),
        )


def _counts(view: RunView, table: PredictionTable) -> tuple[Ints, bool]:
    """(C,) training images per class, and whether that is all of them: as known, or as they came in an epoch."""
    known = np.asarray(view.facts.class_counts, np.int64)
    if len(known):
        return known, True
    first = table.labels[table.epochs == table.epochs[:1]]
    return np.bincount(first), view.ended or len(first) < len(table)


def _ratios(counts: Ints, *, exact: bool) -> Floats64:
    """(C,) the largest class over each. Of counts that are a sample the ratio that is sure: two standard errors of a
    Poisson count on either side. Classes without an image are none."""
    lower, upper = counts.astype(float), counts.astype(float)
    if not exact:
        lower, upper = lower - 2 * np.sqrt(lower), upper + 2 * np.sqrt(upper + 1)
    return np.where(counts > 0, lower.max() / np.maximum(upper, 1e-12), 0.0)


def _drawn_evenly(table: PredictionTable, small: Ints, ratio: float) -> bool:
    """Whether what came is far more even than the data: a sampler makes up for it."""
    came = np.bincount(table.labels, minlength=int(small.max()) + 1)
    return bool(came.max() < ratio / 2 * max(came[small].min(), 1))


def _rounds(view: RunView, small: Ints) -> list[PredictionTable]:
    """The last two rounds of answers that have enough images of small classes."""
    table = view.outcomes()
    trained = [pick(table, table.epochs == epoch) for epoch in np.unique(table.epochs)[-2:]]
    for rounds in (validation_predictions(view, 2), trained):
        enough = [one for one in rounds if np.isin(one.labels, small).sum() >= _IMAGES]
        if len(enough) == 2:
            return enough
    return []


def _missed(table: PredictionTable, small: Ints, size: int, border: float) -> tuple[float, tuple[int, ...]]:
    """The largest share answered wrongly, of all small classes together or of one, and whose it is; 0 if not surely
    more than of the large classes."""
    matrix = confusion(table, size)
    right, all_ = np.diag(matrix), matrix.sum(axis=1)
    large = np.setdiff1d(np.arange(size), small)
    floor = wilson(int(right[large].sum()), int(all_[large].sum())).low - _BEHIND
    found: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    groups: list[list[int]] = [small.tolist(), *([number] for number in small.tolist())]
    for group in groups:
        hits, images = int(right[group].sum()), int(all_[group].sum())
        if images >= _IMAGES and wilson(hits, images).high < floor:
            found.append((1 - hits / images, tuple(group)))
    together = next((one for one in found[1:] if len(one[1]) == len(small) and one[0] >= border), None)
    return together or max(found, key=lambda one: one[0])
