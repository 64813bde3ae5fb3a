"""Confidence interval of a proportion."""

from __future__ import annotations

import math
from typing import NamedTuple

from clearsight.core.errors import BadValue

_Z = 1.96  # 97.5 % quantile of the normal distribution


class Interval(NamedTuple):
    """Range of a proportion, both ends in [0, 1]."""

    low: float
    high: float


def wilson(successes: float, trials: int) -> Interval:
    """Return the 95 % interval of a proportion; (0, 1) without trials.

    Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". Raises BadValue unless
    0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise BadValue(f"{successes} of {trials}", "a proportion needs 0 <= successes <= trials")
    if trials == 0:
        return Interval(0.0, 1.0)
    share, square = successes / trials, _Z**2 / trials
    centre = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    # Rounding must not push the ends past the proportion itself: at 0 of n the lower end is exactly 0.
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))
