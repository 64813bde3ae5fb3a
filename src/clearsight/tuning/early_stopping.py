"""Early stopping of trials that somebody else runs: the median rule, and the rungs of Hyperband.

Both are functions of curves alone: the values of the objective by epoch, the first epoch first. A decision can be
repeated at any time, so that a kill loses nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

from clearsight.core.trial import Objective

Curve: TypeAlias = Sequence[float]

_STARTUP = 3  # earlier trials without which there is no median
_FACTOR = 3  # between the rungs of Hyperband, and of the trials of a rung that go on
_GOLDEN = (math.sqrt(5) - 1) / 2


def below_median(curve: Curve, earlier: Sequence[Curve], objective: Objective) -> bool:
    """Return True if the last value of a curve is worse than the median of the earlier trials at its epoch.

    Of each earlier trial, the mean of its values up to that epoch counts, or of all where it ended before. At least 3
    earlier trials must have values.  Source: Golovin et al. 2017, "Google Vizier", section 3.2.2.
    """
    if not curve:
        return False
    means = [statistics.fmean(values[: len(curve)]) for values in earlier if values]
    if len(means) < _STARTUP:
        return False
    return objective.better(statistics.median(means), curve[-1])


def hyperband_rungs(number: int, low: int, high: int) -> list[int]:
    """Return the epochs at which trial `number` is compared with others of its bracket, in order; [] for none.

    low, high: fewest and most epochs of a trial. The first bracket compares from `low` on, each further one from three
    times as many epochs, and the last one never. Trials are dealt out in the proportions of Hyperband.
    Source: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", algorithm 1.
    """
    bracket = _bracket(number, low, high)
    rungs = [low * _FACTOR**step for step in range(_brackets(low, high) - 1)]
    return rungs[bracket:]


def behind_at_rung(number: int, curves: Mapping[int, Curve], objective: Objective, low: int, high: int) -> int | None:
    """Return the latest rung that trial `number` has reached, if it is behind the best third there; None to go on.

    curves: of all trials by number. Trials of the same bracket that have reached the rung are compared, by their values
    at it; the best one always goes on.
    """
    rungs = [rung for rung in hyperband_rungs(number, low, high) if rung <= len(curves[number])]
    if not rungs:
        return None
    rung, bracket = rungs[-1], _bracket(number, low, high)
    others = [
        curve[rung - 1]
        for other, curve in curves.items()
        if other != number and len(curve) >= rung and _bracket(other, low, high) == bracket
    ]
    value = curves[number][rung - 1]
    better = sum(objective.better(other, value) for other in others)
    return rung if better >= max(1, (len(others) + 1) // _FACTOR) else None


def _brackets(low: int, high: int) -> int:
    count = 1
    while low * _FACTOR**count <= high:
        count += 1
    return count


def _bracket(number: int, low: int, high: int) -> int:
    """Return the bracket of a trial, 0 for the one that compares first.

    Multiples of the golden ratio are spread evenly, so that a few trials are in the right proportions already.
    """
    count = _brackets(low, high)
    sizes = [math.ceil(count / (count - bracket) * _FACTOR ** (count - 1 - bracket)) for bracket in range(count)]
    place = (number * _GOLDEN) % 1.0 * sum(sizes)
    return next(bracket for bracket, end in enumerate(accumulate(sizes)) if place < end)
