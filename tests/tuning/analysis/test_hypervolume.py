"""Hypervolume: equal to volumes counted by hand, and growing with the front."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clearsight.core.errors import BadShape
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.analysis.hypervolume import hypervolume, hypervolume_history

ACCURACY, SECONDS = Objective("accuracy", "maximize"), Objective("seconds", "minimize")


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, source: str = "") -> Trial:
    return Trial(number=number, state=state, params={}, values=values, source=source)


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([], 0),
        ([(1, 1)], 4),  # a square of side 2
        ([(1, 1), (1, 1)], 4),
        ([(0, 2), (1, 1), (2, 0)], 3 + 2 + 1),  # a staircase
        ([(2, 0), (1, 1), (0, 2)], 6),
        ([(0, 2), (1, 1), (2, 0), (2, 2)], 6),  # the last one is dominated
        ([(0, 0)], 9),
    ],
)
def test_two_objectives_as_counted_by_hand(points: list[tuple[int, int]], volume: float) -> None:
    assert hypervolume(points, (3, 3)) == pytest.approx(volume)


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([(0, 0, 0)], 8),
        ([(1, 1, 1)], 1),
        ([(0, 1, 1), (1, 0, 1), (1, 1, 0)], 4),  # three bars of 2, all with the same corner cube of 1
        ([(0, 0, 1), (1, 1, 0)], 4 + 1),  # a plate of 4, and above it a cube of which half is not new
    ],
)
def test_three_objectives_as_counted_by_hand(points: list[tuple[int, ...]], volume: float) -> None:
    assert hypervolume(points, (2, 2, 2)) == pytest.approx(volume)


def test_four_objectives_are_a_box_too() -> None:
    assert hypervolume([(0, 0, 0, 0), (1, 1, 1, 1)], (1, 2, 3, 4)) == pytest.approx(24)


def test_one_objective_is_a_distance() -> None:
    assert hypervolume([(3,), (1,)], (5,)) == 4


def test_points_beyond_the_reference_add_nothing() -> None:
    assert hypervolume([(1, 3), (4, 0), (math.nan, 0)], (3, 3)) == 0


def test_the_volume_is_the_share_of_dominated_random_points() -> None:
    draws = np.random.default_rng(0)
    points, samples = draws.random((20, 3)), draws.random((200_000, 3))
    dominated = np.zeros(len(samples), dtype=bool)
    for point in points:
        dominated |= (samples >= point).all(axis=1)
    assert hypervolume(points, np.ones(3)) == pytest.approx(dominated.mean(), abs=0.005)


def test_points_and_reference_must_fit() -> None:
    with pytest.raises(BadShape, match="do not fit"):
        hypervolume([(1, 1, 1)], (2, 2))


def test_the_history_is_the_dominated_share_of_the_box() -> None:
    """Best (0.9, 10), worst (0.5, 30): the box is 1.1 by 1.1 in spreads."""
    trials = [trial(0, 0.5, 10), trial(1, 0.9, 30), trial(4, 0.9, 10), trial(5, 0.6, 20)]
    history = hypervolume_history(trials, (ACCURACY, SECONDS))
    assert [number for number, _ in history] == [0, 1, 4, 5]
    shares = [share for _, share in history]
    assert shares[0] == pytest.approx(0.1 * 1.1 / 1.21)  # best in seconds, worst in accuracy
    assert shares[1] == pytest.approx((0.11 + 0.11 - 0.01) / 1.21)
    assert shares[2] == pytest.approx(1.0)  # best in both
    assert shares[3] == shares[2]


def test_the_history_agrees_with_the_volume() -> None:
    points = np.random.default_rng(1).random((30, 3))
    objectives = (SECONDS, Objective("loss", "minimize"), Objective("parameters", "minimize"))
    history = hypervolume_history([trial(i, *map(float, row)) for i, row in enumerate(points)], objectives)
    scaled = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    volumes = [hypervolume(scaled[: n + 1], np.full(3, 1.1)) / 1.1**3 for n in range(30)]
    assert [share for _, share in history] == pytest.approx(volumes)


def test_imported_pruned_and_infinite_trials_do_not_count() -> None:
    trials = [
        trial(0, 0.9, 10, source="studies/monday"),
        trial(1, 0.5, math.inf),
        trial(2, 0.5, 10),
        trial(3, state=TrialState.PRUNED),
    ]
    assert [number for number, _ in hypervolume_history(trials, (ACCURACY, SECONDS))] == [2]


def test_a_single_objective_or_no_trial_has_no_history() -> None:
    assert hypervolume_history([trial(0, 0.5)], (ACCURACY,)) == []
    assert hypervolume_history([], (ACCURACY, SECONDS)) == []


def test_one_trial_alone_is_best_in_everything() -> None:
    assert hypervolume_history([trial(0, 0.5, 3.0)], (ACCURACY, SECONDS)) == [(0, pytest.approx(1.0))]
