"""Hypervolume: the share of the space of several objectives that a set of trials dominates, as one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadShape
from clearsight.core.trial import Objective, Trial, complete_trials

Floats = npt.NDArray[np.float64]
_MARGIN = 0.1  # of the spread, beyond the worst value: without it the ends of a front would have no volume


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Return the volume between the points and `reference` that at least one point dominates; exact, by slices.

    points: (N, M), in every column less is better.  reference: (M,).  A point that is not better than the reference in
    every objective, or has a NaN, adds nothing. Raises BadShape if the two disagree on M.
    Source: Zitzler and Thiele 1998, "Multiobjective Optimization Using Evolutionary Algorithms" (the measure);
    While et al. 2006, "A Faster Algorithm for Calculating Hypervolume" (slicing objectives).
    """
    corner = np.asarray(reference, dtype=np.float64)
    rows = np.asarray(points, dtype=np.float64)
    if corner.ndim != 1 or (rows.size and (rows.ndim != 2 or rows.shape[1] != len(corner))):
        raise BadShape("hypervolume", f"points of shape {rows.shape} do not fit a reference of shape {corner.shape}")
    inside = rows[(rows < corner).all(axis=1)] if rows.size else rows.reshape(0, len(corner))
    return _volume(_undominated(inside), corner)


def hypervolume_history(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[tuple[int, float]]:
    """Return (number of the trial, share of the box dominated so far) after each complete trial.

    The box reaches from the best value of any trial in each objective to the worst, and a tenth beyond; so accuracy and
    seconds have equal weight, and a trial that is best in everything has the share 1. [] for a single objective.
    """
    complete = [
        trial
        for trial in complete_trials(trials)
        if len(trial.values) == len(objectives) and np.isfinite(trial.values).all()
    ]
    if len(objectives) < 2 or not complete:
        return []
    signs = np.array([-1.0 if objective.direction == "maximize" else 1.0 for objective in objectives])
    losses = np.array([trial.values for trial in complete]) * signs
    best, spread = losses.min(axis=0), np.ptp(losses, axis=0)
    scaled = (losses - best) / np.where(spread > 0, spread, 1.0)  # 0 is best, 1 is worst
    corner = np.full(len(objectives), 1.0 + _MARGIN)
    front, volume, history = np.empty((0, len(objectives))), 0.0, []
    for trial, point in zip(complete, scaled, strict=True):
        # The volume grows by the box of the new point without the part of that box that the front dominates already.
        if not (front <= point).all(axis=1).any():
            volume += float(np.prod(corner - point)) - _volume(_undominated(np.maximum(front, point)), corner)
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
        history.append((trial.number, volume / float(np.prod(corner))))
    return history


def _undominated(rows: Floats) -> Floats:
    """Return the rows that no other row dominates, each once: (N, M) -> (K, M)."""
    unique = np.unique(rows, axis=0)
    undominated = [
        index
        for index, row in enumerate(unique)  # np.unique sorts, so that only an earlier row can dominate a later one
        if not (unique[:index] <= row).all(axis=1).any()
    ]
    return unique[undominated]


def _volume(front: Floats, corner: Floats) -> float:
    """Return the volume of rows that do not dominate each other, cut into slabs along the last objective.

    Each slab is a volume of one objective less; with two objectives the slabs are rectangles of a staircase.
    """
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
        float(end - row[-1]) * _volume(_undominated(by_last[: index + 1, :-1]), corner[:-1])
        for index, (row, end) in enumerate(zip(by_last, ends, strict=True))
        if end > row[-1]
    )
