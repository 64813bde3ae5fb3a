"""How sure a score is: 95 % intervals from what an evaluation keeps (counts, a confusion matrix)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape, BadValue, EmptyInput
from clearsight.core.statistics import Interval, wilson

_Z = 1.96  # 97.5 % quantile of the normal distribution


def roc_auc_interval(area: float, positives: int, negatives: int) -> Interval:
    """95 % interval of an area under the ROC curve in [0, 1]; without one of the classes: (0, 1).

    Source: Hanley and McNeil 1982, "The Meaning and Use of the Area under a ROC Curve", eq. 1.
    """
    if positives == 0 or negatives == 0:
        return Interval(0.0, 1.0)
    ranked, twice = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (ranked - area**2) + (negatives - 1) * (twice - area**2)
    half = _Z * math.sqrt(max(variance, 0.0) / (positives * negatives))
    return Interval(max(0.0, area - half), min(1.0, area + half))


def macro_f1_interval(matrix: npt.ArrayLike, *, draws: int = 300, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of macro F1, images drawn again within each true class.

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
    present = support > 0
    rng = np.random.default_rng(seed)
    scores = np.empty(draws)
    for draw in range(draws):
        again = predicted[start + (rng.random(len(true)) * support[true]).astype(np.int64)]
        hits = np.bincount(true[again == true], minlength=classes)
        made = support + np.bincount(again, minlength=classes)
        scores[draw] = (2 * hits[present] / made[present]).mean()
    low, high = np.percentile(scores, (2.5, 97.5))
    return Interval(float(low), float(high))


def accuracy_interval(evaluation: Any, key: str = "accuracy") -> Interval | None:
    """Wilson interval of a score that is a share of the `n` evaluated images; None where the score is missing."""
    share, trials = evaluation.get(key), evaluation["n"]
    return None if share is None else wilson(min(share * trials, trials), trials)


def mcnemar(first_alone: int, second_alone: int) -> float:
    """Exact two-sided p-value in [0, 1] of "both are right equally often", from the images on which they differ.

    first_alone, second_alone: images that only the one or only the other got right; both 0 give 1.
    Raises BadValue for a negative count.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages",
    as a binomial test of the differing images, which holds for few of them too.
    """
    if first_alone < 0 or second_alone < 0:
        raise BadValue(f"{first_alone} and {second_alone}", "counts of images are not negative")
    total, fewer = first_alone + second_alone, min(first_alone, second_alone)
    whole = math.lgamma(total + 1) - total * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(hits + 1) - math.lgamma(total - hits + 1)) for hits in range(fewer + 1)
    )
    return min(1.0, 2 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """p-values that may be read side by side: whoever compares often is fooled by chance more often.

    values: p-values in [0, 1], in any order, which is kept.
    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    adjusted, least = [1.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        least = max(least, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = least
    return adjusted
