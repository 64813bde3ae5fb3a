"""Hypervolume: how much of the space of several objectives a set of trials has won, as one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape
from clearsight.core.trial import Objective, Trial, complete_trials

Floats = npt.NDArray[np.float64]
_MARGIN = 0.1  # of the spread, beyond the worst value: else the ends of a front would count for nothing


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Volume that at least one point beats and that itself beats `reference`; exact, by slices.

    points: (N, M), in every column less is better.  reference: (M,).  What is not better than the reference in every
    objective, or no number, adds nothing. Raises BadShape when the two disagree on M.
    Source: Zitzler and Thiele 1998, "Multiobjective Optimization Using Evolutionary Algorithms" (the measure);
    While et al. 2006, "A Faster Algorithm for Calculating Hypervolume" (slicing objectives).
    """
    corner = np.asarray(reference, dtype=np.float64)
    rows = np.asarray(points, dtype=np.float64)
    if corner.ndim != 1 or (rows.size and (rows.ndim != 2 or rows.shape[1] != len(corner))):
        raise BadShape("hypervolume", f"points {rows.shape} and a reference {corner.shape} do not fit each other")
    inside = rows[(rows < corner).all(axis=1)] if rows.size else rows.reshape(0, len(corner))
    return _volume(_undominated(inside), corner)


def hypervolume_history(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[int, float]]:
    """(number of the trial, share of the box won until then) after each complete trial; [] for a single objective.

    The box reaches from the best value that any trial has in each objective to the worst, and a tenth beyond; so
    accuracy and seconds weigh the same, and 1 would be a trial that is best in everything.
    """
    done = [
        one for one in complete_trials(trials) if len(one.values) == len(objectives) and np.isfinite(one.values).all()
    ]
    if len(objectives) < 2 or not done:
        return []
    signs = np.array([-1.0 if one.direction == "maximize" else 1.0 for one in objectives])
    losses = np.array([one.values for one in done]) * signs
    best, spread = losses.min(axis=0), np.ptp(losses, axis=0)
    scaled = (losses - best) / np.where(spread > 0, spread, 1.0)  # 0 is best, 1 is worst
    corner = np.full(len(objectives), 1.0 + _MARGIN)
    front, won, told = np.empty((0, len(objectives))), 0.0, []
    for trial, point in zip(done, scaled, strict=True):
        # The volume grows by what the point wins and nobody had: its own box without what the front has of that box.
        if not (front <= point).all(axis=1).any():
            won += float(np.prod(corner - point)) - _volume(_undominated(np.maximum(front, point)), corner)
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
        told.append((trial.number, won / float(np.prod(corner))))
    return told


def _undominated(rows: Floats) -> Floats:
    """(N, M) -> (K, M): rows that no other equals or beats everywhere, each once."""
    once = np.unique(rows, axis=0)
    kept = [
        place
        for place, row in enumerate(once)  # np.unique sorts, so that only an earlier row can beat a later one
        if not (once[:place] <= row).all(axis=1).any()
    ]
    return once[kept]


def _volume(front: Floats, corner: Floats) -> float:
    """Of rows that do not beat each other: slabs along the last objective, each a volume of one objective less."""
    if not len(front):
        return 0.0
    if front.shape[1] == 1:
        return float(corner[0] - front[:, 0].min())
    if front.shape[1] == 2:
        by_first = front[np.argsort(front[:, 0])]
        above = np.concatenate([corner[1:], by_first[:-1, 1]])
        return float(((corner[0] - by_first[:, 0]) * (above - by_first[:, 1])).sum())
    by_last = front[np.argsort(front[:, -1])]
    ends = np.append(by_last[1:, -1], corner[-1])
    return sum(
        float(end - row[-1]) * _volume(_undominated(by_last[: place + 1, :-1]), corner[:-1])
        for place, (row, end) in enumerate(zip(by_last, ends, strict=True))
        if end > row[-1]
    )
