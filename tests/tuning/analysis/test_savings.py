"""Savings of a study: what its trials did not have to compute."""

from __future__ import annotations

from typing import Any

from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.analysis.savings import study_savings


def trial(number: int, value: float | None = None, state: TrialState = TrialState.COMPLETE, **fields: Any) -> Trial:
    return Trial(number=number, state=state, params={}, values=() if value is None else (value,), **fields)


def test_savings_add_up_over_the_trials_of_the_study() -> None:
    trials = [
        trial(0, 0.5, curve={10: 0.5}, planned=10, seconds=20.0, saved_seconds=7.5),
        trial(1, state=TrialState.PRUNED, curve={1: 0.1, 2: 0.1}, planned=10, seconds=4.0, saved_seconds=0.5),
        trial(2, state=TrialState.PRUNED, planned=10),  # pruned before its first epoch, so its time is unknown
        trial(3, 0.5, same_as=0),
        trial(4, 0.9, source="earlier", saved_seconds=100.0),
    ]
    assert study_savings(trials) == {
        "features_seconds": 8.0,
        "pruned_trials": 2,
        "pruned_epochs": 18,
        "pruned_seconds": 16.0,
        "answered_trials": 1,
    }
