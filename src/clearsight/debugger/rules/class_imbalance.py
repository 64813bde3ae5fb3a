"""ClassImbalance: some classes are rare, nothing compensates for it, and the model misses them."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.statistics import wilson
from clearsight.core.view import Floats64, Ints, PredictionTable, RunView
from clearsight.debugger.analysis.predictions import (
    class_count,
    class_name,
    confusion_matrix,
    join_names,
    last_step,
    select_rows,
    training_steps,
    validation_predictions,
)

_IMAGES = 5  # of the small classes that must have been predicted: fewer say nothing about recall
_RECALL_GAP = 0.2  # between large and small classes, which must surely be exceeded
_EARLY = 3  # epochs before which even a good model has not learned small classes yet


class ClassImbalance(Rule):
    """Found when the largest class has `max_ratio` times the images of a small one, and the model misses the small one.

    Missed means that `max_missed` of its images are predicted wrongly, and surely more often (95 % intervals) than
    those of the large classes, in the last two validations, or in the last two epochs of training where validation has
    too few images. SageMaker's rule of this name fires on either alone: on a ratio of 10 that does no harm, or on a
    class that is merely hard. Where the loss is weighted or classes are drawn evenly the rule is clear.
    """

    explains = ("Confusion", "LabelNoise")

    max_ratio: float = setting(
        10.0, "size of the largest class over that of a small one", above=1, aliases=("threshold_imbalance",)
    )
    max_missed: float = setting(
        0.7, "share of a small class predicted wrongly", above=0, high=1, aliases=("threshold_misprediction",)
    )
    images: int = setting(100, "training predictions that are needed", low=1, aliases=("pictures", "samples"))
    unused = ("argmax", "labels_regex", "predictions_regex")

    def needs(self) -> Needs:
        return Needs(counted="predictions", points=self.images)

    def check(self, view: RunView) -> list[Finding]:
        table, settings = view.predictions(), view.context.settings
        counts, exact = _class_sizes(view, table)
        if len(table) < self.images or counts.max(initial=0) == 0:
            return [self.not_enough_data(have=len(table))]
        ratios = _ratios(counts, exact=exact)
        small = np.flatnonzero(ratios >= self.max_ratio)
        balanced = settings.get("class_weights") == "balanced" or settings.get("sampling") == "balanced"
        if not len(small) or balanced or _drawn_evenly(table, small, self.max_ratio):
            return [self.clear(value=ratios.max(), threshold=self.max_ratio, unit="times")]
        recent = _recent_predictions(view, small)
        _, epochs = training_steps(view)
        # Two evaluations, so that a single unlucky one decides nothing.
        if len(recent) < 2 or not (view.ended or epochs.max(initial=0) >= _EARLY):
            of = f"evaluations with {_IMAGES} images of small classes"
            return [self.not_enough_data(have=len(recent), want=2, of=of)]
        worst = [_missed(part, small, class_count(view.context, table, part), self.max_missed) for part in recent]
        share, missed = worst[-1]
        if not all(share >= self.max_missed for share, _ in worst):
            return [self.clear(value=share, threshold=self.max_missed, unit="of small classes missed")]
        names = [class_name(view.context, index) for index in missed]
        largest = int(np.argmax(counts))
        first, last = (last_step(view, int(part.epochs[-1])) for part in recent)
        finding = self.found(
            value=ratios[missed].max(),
            threshold=self.max_ratio,
            unit="times",
            steps=(first, last),
            epoch=int(recent[0].epochs[0]),
            subject=names[0],
            cause=f"{class_name(view.context, largest)} has {counts[largest]} training images, {join_names(names[:3])} "
            f"{counts[missed].min()}, and {share:.0%} of the latter are predicted wrongly",
            fix={"class_weights": "balanced"},
            evidence=Series.of("training images by class", np.arange(len(counts)), counts),
        )
        return [finding]


def _class_sizes(view: RunView, table: PredictionTable) -> tuple[Ints, bool]:
    """Return images per class, (C,), of the dataset or else of the first epoch, and True if they are complete."""
    known = np.asarray(view.context.class_counts, np.int64)
    if len(known):
        return known, True
    first = table.labels[table.epochs == table.epochs[:1]]
    return np.bincount(first), view.ended or len(first) < len(table)


def _ratios(counts: Ints, *, exact: bool) -> Floats64:
    """Return the size of the largest class over that of each, (C,); 0 for classes without an image."""
    lower, upper = counts.astype(float), counts.astype(float)
    if not exact:  # the ratio that is sure of a sample: two standard errors of a Poisson count on either side
        lower, upper = lower - 2 * np.sqrt(lower), upper + 2 * np.sqrt(upper + 1)
    return np.where(counts > 0, lower.max() / np.maximum(upper, 1e-12), 0.0)


def _drawn_evenly(table: PredictionTable, small: Ints, ratio: float) -> bool:
    """Return True if the drawn images are far more even than the data: a sampler compensates for the imbalance."""
    draws = np.bincount(table.labels, minlength=int(small.max()) + 1)
    return bool(draws.max() < ratio / 2 * max(draws[small].min(), 1))


def _recent_predictions(view: RunView, small: Ints) -> list[PredictionTable]:
    """Return the predictions of the last two validations, else epochs, with enough images of small classes; else []."""
    table = view.predictions()
    epochs = [select_rows(table, table.epochs == epoch) for epoch in np.unique(table.epochs)[-2:]]
    for parts in (validation_predictions(view, 2), epochs):
        enough = [part for part in parts if np.isin(part.labels, small).sum() >= _IMAGES]
        if len(enough) == 2:
            return enough
    return []


def _missed(table: PredictionTable, small: Ints, size: int, limit: float) -> tuple[float, list[int]]:
    """Return the largest share predicted wrongly, of all small classes together or of one, and their indices.

    The share is 0 where it is not surely larger than that of the large classes.
    """
    matrix = confusion_matrix(table, size)
    correct, total = np.diag(matrix), matrix.sum(axis=1)
    large = np.setdiff1d(np.arange(size), small)
    floor = wilson(int(correct[large].sum()), int(total[large].sum())).low - _RECALL_GAP
    candidates: list[tuple[float, list[int]]] = [(0.0, [])]
    for group in (small.tolist(), *([index] for index in small.tolist())):
        hits, images = int(correct[group].sum()), int(total[group].sum())
        if images >= _IMAGES and wilson(hits, images).high < floor:
            candidates.append((1 - hits / images, group))
    # All small classes together come first: naming one of them would hide the others.
    everyone = (pair for pair in candidates[1:] if len(pair[1]) == len(small) and pair[0] >= limit)
    return next(everyone, None) or max(candidates, key=lambda pair: pair[0])
