"""Stopping rules of a study."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.core.space import Space
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.runner import common_failure, study_stop_reason

UP, DOWN = Objective("accuracy", "maximize"), Objective("loss", "minimize")


def plan(objective: Objective = UP, **limits: Any) -> StudyPlan:
    return StudyPlan(data="/d", space=Space(()), objectives=(objective,), trials=100, **limits)


def trial(number: int, value: float | None = None, state: TrialState | None = None, **facts: Any) -> Trial:
    trial_state = state or (TrialState.RUNNING if value is None else TrialState.COMPLETE)
    return Trial(number=number, state=trial_state, params={}, values=() if value is None else (value,), **facts)


def test_a_plan_without_limits_never_stops() -> None:
    assert study_stop_reason(plan(), [trial(number, 1.0) for number in range(50)], 1e9) is None


def test_the_time_limit() -> None:
    assert study_stop_reason(plan(time_limit=60.0), [], 59.9) is None
    assert study_stop_reason(plan(time_limit=60.0), [], 60.0) == StopReason(
        StopKind.TIME_LIMIT, "the time limit of 60 s was reached"
    )


def test_the_budget_counts_the_trained_epochs_of_all_trials() -> None:
    """Not the epochs that a pruned trial did not train, those of a duplicate, and those of an earlier study."""
    trials = [
        trial(0, 0.5, curve={1: 0.4, 2: 0.5}),
        trial(1, state=TrialState.PRUNED, curve={1: 0.1}, planned=10),
        trial(2, 0.5, curve={1: 0.4, 2: 0.5}, same_as=0),
        trial(3, 0.9, curve={9: 0.9}, source="earlier"),
    ]
    assert study_stop_reason(plan(epoch_budget=4), trials, 0) is None
    assert study_stop_reason(plan(epoch_budget=3), trials, 0) == StopReason(
        StopKind.EPOCH_BUDGET, "the budget of 3 epochs is used up (3 were trained)"
    )


@pytest.mark.parametrize(("objective", "short", "reached"), [(UP, 0.89, 0.9), (DOWN, 0.91, 0.9)])
def test_a_target_in_either_direction(objective: Objective, short: float, reached: float) -> None:
    assert study_stop_reason(plan(objective, target=0.9), [trial(0, short)], 0) is None
    stop = study_stop_reason(plan(objective, target=0.9), [trial(0, short), trial(1, reached)], 0)
    assert stop == StopReason(StopKind.TARGET, "trial 1 reached the target of 0.9 (0.9)")


def test_an_imported_trial_reaches_no_target() -> None:
    assert study_stop_reason(plan(target=0.9), [trial(0, 0.95, source="earlier")], 0) is None


def test_trials_without_improvement() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.9), trial(3, state=TrialState.PRUNED), trial(4)]
    assert study_stop_reason(plan(stop_after=3), trials, 0) is None  # the fifth still runs
    ended = [*trials[:4], trial(4, state=TrialState.FAILED)]
    assert study_stop_reason(plan(stop_after=3), ended, 0) == StopReason(
        StopKind.NO_IMPROVEMENT, "3 trials in a row were no better than trial 1"
    )


def test_without_a_complete_trial_there_is_no_improvement_to_wait_for() -> None:
    trials = [trial(number, state=TrialState.FAILED) for number in range(9)]
    assert study_stop_reason(plan(stop_after=3, target=0.5), trials, 0) is None


def test_a_common_failure() -> None:
    failed = [trial(number, state=TrialState.FAILED, reason="no memory") for number in range(3)]
    assert common_failure(failed) == "no memory"
    assert common_failure([*failed, trial(3)]) == "no memory"  # the last one still runs
    assert common_failure(failed[:2]) == ""
    assert common_failure([*failed, trial(3, 0.5)]) == ""
    assert common_failure([*failed, trial(3, state=TrialState.PRUNED)]) == ""
    assert common_failure([*failed, trial(3, state=TrialState.FAILED, reason="something else")]) == ""
    assert common_failure([*failed, trial(3, 0.5, source="earlier")]) == "no memory"
