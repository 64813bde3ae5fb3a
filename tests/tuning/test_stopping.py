"""When a study has done enough, and what it was spared."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.core.space import Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.analysis.savings import study_savings
from clearsight.tuning.stopping import all_failed_alike, study_stop_reason

UP, DOWN = Objective("accuracy", "maximize"), Objective("loss", "minimize")


def plan(aim: Objective = UP, **limits: Any) -> StudyPlan:
    return StudyPlan(data="/d", space=Space(()), objectives=(aim,), trials=100, **limits)


def trial(number: int, value: float | None = None, state: TrialState | None = None, **facts: Any) -> Trial:
    came_to = state or (TrialState.RUNNING if value is None else TrialState.COMPLETE)
    return Trial(number=number, state=came_to, params={}, values=() if value is None else (value,), **facts)


def test_without_limits_it_goes_on() -> None:
    assert study_stop_reason(plan(), [trial(number, 1.0) for number in range(50)], 1e9) == ""


def test_time() -> None:
    assert study_stop_reason(plan(time_limit=60.0), [], 59.9) == ""
    assert study_stop_reason(plan(time_limit=60.0), [], 60.0) == "the time limit of 60 s was reached"


def test_epochs_of_all_trials_together() -> None:
    """Epochs that a pruned trial did not train and those of an answered one are not charged."""
    trials = [
        trial(0, 0.5, curve={1: 0.4, 2: 0.5}),
        trial(1, state=TrialState.PRUNED, curve={1: 0.1}, planned=10),
        trial(2, 0.5, curve={1: 0.4, 2: 0.5}, same_as=0),
        trial(3, 0.9, curve={9: 0.9}, source="earlier"),
    ]
    assert study_stop_reason(plan(epoch_budget=4), trials, 0) == ""
    assert study_stop_reason(plan(epoch_budget=3), trials, 0) == "the budget of 3 epochs is spent (3 were trained)"


@pytest.mark.parametrize(("aim", "short", "there"), [(UP, 0.89, 0.9), (DOWN, 0.91, 0.9)])
def test_a_target_either_way(aim: Objective, short: float, there: float) -> None:
    assert study_stop_reason(plan(aim, target=0.9), [trial(0, short)], 0) == ""
    told = study_stop_reason(plan(aim, target=0.9), [trial(0, short), trial(1, there)], 0)
    assert told == "the target of 0.9 was reached by trial 1 (0.9)"


def test_a_target_that_an_earlier_study_reached_is_not_reached() -> None:
    assert study_stop_reason(plan(target=0.9), [trial(0, 0.95, source="earlier")], 0) == ""


def test_nothing_better_for_so_long() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.9), trial(3, state=TrialState.PRUNED), trial(4)]
    assert study_stop_reason(plan(stop_after=3), trials, 0) == ""  # the fifth is not over yet
    over = [*trials[:4], trial(4, state=TrialState.FAILED)]
    assert study_stop_reason(plan(stop_after=3), over, 0) == "3 trials in a row brought nothing better than trial 1"


def test_where_nothing_is_best_nothing_can_be_better() -> None:
    trials = [trial(number, state=TrialState.FAILED) for number in range(9)]
    assert study_stop_reason(plan(stop_after=3, target=0.5), trials, 0) == ""


def test_what_was_spared() -> None:
    trials = [
        trial(0, 0.5, curve={10: 0.5}, planned=10, seconds=20.0, spared_seconds=7.5),
        trial(1, state=TrialState.PRUNED, curve={1: 0.1, 2: 0.1}, planned=10, seconds=4.0, spared_seconds=0.5),
        trial(2, state=TrialState.PRUNED, planned=10),  # pruned before its first epoch: nobody knows how long one takes
        trial(3, 0.5, same_as=0),
        trial(4, 0.9, source="earlier", spared_seconds=100.0),
    ]
    assert study_savings(trials) == {
        "features_seconds": 8.0,
        "pruned_trials": 2,
        "pruned_epochs": 18,
        "pruned_seconds": 16.0,
        "answered_trials": 1,
    }


def test_all_failed_for_one_reason() -> None:
    failed = [trial(number, state=TrialState.FAILED, reason="no memory") for number in range(3)]
    assert all_failed_alike(failed) == "no memory"
    assert all_failed_alike([*failed, trial(3)]) == "no memory"  # one is under way still
    assert all_failed_alike(failed[:2]) == ""
    assert all_failed_alike([*failed, trial(3, 0.5)]) == ""
    assert all_failed_alike([*failed, trial(3, state=TrialState.PRUNED)]) == ""
    assert all_failed_alike([*failed, trial(3, state=TrialState.FAILED, reason="something else")]) == ""
    assert all_failed_alike([*failed, trial(3, 0.5, source="earlier")]) == "no memory"
