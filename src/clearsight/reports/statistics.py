"""Uncertainty of scores: 95 % intervals of an evaluation, and a test for two models on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, BadValue, EmptyInput
from clearsight.core.statistics import Interval, wilson

_Z = 1.96  # 97.5 % quantile of the normal distribution


def share_interval(share: float | None, images: int) -> Interval | None:
    """Return the Wilson interval of a score that is a share of `images` images; None for a missing score."""
    # Rounding of a stored score must not count more hits than images.
    return None if share is None else wilson(min(share * images, images), images)


def roc_auc_interval(area: float, positives: int, negatives: int) -> Interval:
    """Return the 95 % interval of an area under the ROC curve in [0, 1]; (0, 1) where one class has no images.

    Source: Hanley and McNeil 1982, "The Meaning and Use of the Area under a ROC Curve", eq. 1.
    """
    if positives == 0 or negatives == 0:
        return Interval(0.0, 1.0)
    # Probability that one negative ranks below two positives, and that one positive ranks above two negatives.
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area)
    variance += (positives - 1) * (two_positives - area**2) + (negatives - 1) * (two_negatives - area**2)
    half = _Z * math.sqrt(max(variance, 0.0) / (positives * negatives))
    return Interval(max(0.0, area - half), min(1.0, area + half))


def macro_f1_interval(matrix: npt.ArrayLike, *, draws: int = 300, seed: int = 0) -> Interval:
    """Return the 95 % percentile bootstrap interval of macro F1, resampling images within each true class.

    matrix: (C, C) counts, true classes in rows. Raises BadShape when it is not square, EmptyInput when it is all 0.
    Source: Efron 1979, "Bootstrap Methods: Another Look at the Jackknife".
    """
    counts = np.asarray(matrix, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise BadShape("confusion matrix", f"it must be square, got {counts.shape}")
    if counts.sum() == 0:
        raise EmptyInput("confusion matrix", "it counts no images")
    classes = len(counts)
    rows, columns = np.nonzero(counts)
    repeats = counts[rows, columns]
    true, predicted = np.repeat(rows, repeats), np.repeat(columns, repeats)  # both (N,), sorted by true class
    support = counts.sum(axis=1)
    start = np.concatenate(([0], np.cumsum(support)[:-1]))[true]
    present = support > 0  # a class without images has no F1; scores leave it out of the mean too
    rng = np.random.default_rng(seed)
    scores = np.empty(draws)
    for draw in range(draws):
        resampled = predicted[start + (rng.random(len(true)) * support[true]).astype(np.int64)]
        hits = np.bincount(true[resampled == true], minlength=classes)
        totals = support + np.bincount(resampled, minlength=classes)
        scores[draw] = (2 * hits[present] / totals[present]).mean()
    low, high = np.percentile(scores, (2.5, 97.5))
    return Interval(float(low), float(high))


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the exact two-sided p-value, in [0, 1], of the hypothesis that two models are correct equally often.

    first_only, second_only: images that only the first or only the second model predicts correctly; both 0 give 1.
    Raises BadValue for a negative count.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages",
    as a binomial test of the images on which the models differ, which is valid for few of them too.
    """
    if first_only < 0 or second_only < 0:
        raise BadValue(f"{first_only} and {second_only}", "counts of images must not be negative")
    total, fewer = first_only + second_only, min(first_only, second_only)
    # Logarithms, because the binomial coefficients of some thousand images overflow.
    log_scale = math.lgamma(total + 1) - total * math.log(2)
    tail = math.fsum(
        math.exp(log_scale - math.lgamma(hits + 1) - math.lgamma(total - hits + 1)) for hits in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number: with more comparisons, more are significant by chance.

    values: p-values in [0, 1], in any order; the result has the same order.
    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    adjusted, least = [1.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        # An adjusted value is never below that of a smaller p-value.
        least = max(least, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = least
    return adjusted
