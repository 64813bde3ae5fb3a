"""PairedGain: gain of a validation score from one set of predictions to another of the same images, and its error.

Predictions of two networks on the same images are mostly alike, so the error of the difference is smaller than that of
either score: only images on which they differ count. N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.probabilities import Floats
from clearsight.training import metrics
from clearsight.training.metrics import Ints

_PARTS = 50  # of the images, for the error of a score that is no mean over them; each part costs two scores


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedGain:
    """Gain of a score where higher is better, and its standard error, both in the unit of the score.

    score: its name; of "loss" the gain is what it fell by.  images: validation images.
    """

    score: str
    value: float
    error: float
    images: int

    @property
    def is_clear(self) -> bool:
        """Return True for a gain of more than one standard error.

        Source of the rule: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: of models whose
        scores differ by less than a standard error, the simpler one is chosen.
        """
        return self.value > self.error

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PairedGain:
        return cls(**values)


def paired_gain(before: Floats, after: Floats, labels: Ints, score: str) -> PairedGain:
    """Return the gain from logits `before` to logits `after`, both (N, C), of the same images in the same order.

    score: accuracy, loss, macro_f1 or roc_auc; roc_auc without both classes is accuracy, as in the choice of an epoch.
    The error of an accuracy is the square root of the number of images that only one of the two has right, over N: that
    of McNemar 1947, "Note on the Sampling Error of the Difference between Correlated Proportions". Of a loss it is the
    standard error of the mean of paired differences. Of the others it is that of the jackknife over parts of the
    images (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11).
    Raises BadShape if they disagree on N, EmptyInput if N is 0.
    """
    images = len(labels)
    right_before, right_after = (metrics.correct(logits, labels).astype(int) for logits in (before, after))
    if score not in metrics.scores(after, labels):
        score = "accuracy"
    if score == "accuracy":
        change = right_after - right_before  # (N,) of -1, 0 and 1
        value, error = float(change.mean()), math.sqrt(np.abs(change).sum()) / images
    elif score == "loss":
        change = metrics.image_losses(before, labels) - metrics.image_losses(after, labels)
        value, error = float(change.mean()), float(change.std(ddof=1)) / math.sqrt(images) if images > 1 else math.inf
    else:

        def gain(chosen: npt.NDArray[np.bool_]) -> float:
            first, second = (metrics.scores(logits[chosen], labels[chosen]) for logits in (before, after))
            return second.get(score, math.nan) - first.get(score, math.nan)

        value, error = gain(np.ones(images, bool)), _jackknife_error(gain, images)
    return PairedGain(score=score, value=value, error=error, images=images)


def _jackknife_error(value: Callable[[npt.NDArray[np.bool_]], float], images: int) -> float:
    """Return the standard error of `value`, a function of chosen images; infinity where too few are left for it."""
    parts = min(_PARTS, images)
    part = np.arange(images) % parts
    values = np.array([value(part != left_out) for left_out in range(parts)]) if parts > 1 else np.array([math.nan])
    if not np.isfinite(values).all():
        return math.inf
    return float(np.sqrt((parts - 1) / parts * np.square(values - values.mean()).sum()))
