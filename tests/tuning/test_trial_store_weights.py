"""TrialStore: the weights of the best trials stay, and the scores of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.trial import Objective, TrialResult, TrialState
from clearsight.testing.searchers import ACCURACY, NUMBERS, new_store, propose
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.trial_store import TrialStore


def run_trial(store: TrialStore, *values: float, state: TrialState = TrialState.COMPLETE, **facts: Any) -> int:
    """Run a trial that leaves weights on disk; return its number."""
    trial = propose(store)
    store.folder(trial.number).head.touch()
    if state is not TrialState.RUNNING:
        store.finish(TrialResult(number=trial.number, state=state, values=values), **facts)
    return trial.number


def with_weights(store: TrialStore) -> list[int]:
    return [trial.number for trial in store.trials() if store.folder(trial.number).head.exists()]


def test_the_weights_of_the_best_trials_stay(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, keep=2) as store:
        for value, retained in ((0.5, [0]), (0.9, [0, 1]), (0.7, [1, 2]), (0.7, [1, 2]), (0.1, [1, 2])):
            run_trial(store, value)
            store.delete_weights()
            assert with_weights(store) == retained


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, objectives=(Objective("loss", "minimize"),)) as store:
        for value in (0.5, 0.2, 0.9):
            run_trial(store, value)
        store.delete_weights()
        assert with_weights(store) == [1]


def test_pruned_and_failed_trials_lose_their_weights_and_running_ones_do_not(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        run_trial(store, state=TrialState.RUNNING)
        run_trial(store, state=TrialState.PRUNED)
        run_trial(store, state=TrialState.FAILED)
        store.delete_weights()
        assert with_weights(store) == [0]


def test_the_weights_of_a_best_duplicate_are_those_of_its_original(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, keep=1) as store:
        run_trial(store, 0.9)
        run_trial(store, 0.9, same_as=0)
        run_trial(store, 0.1)
        store.delete_weights()
        assert with_weights(store) == [0]


def test_the_weights_of_the_pareto_front_stay(tmp_path: Path) -> None:
    objectives = (ACCURACY, Objective("seconds", "minimize"))
    with new_store(tmp_path / "s", Random(), NUMBERS, objectives=objectives) as store:
        for values in ((0.9, 9.0), (0.8, 3.0), (0.7, 5.0), (0.5, 1.0)):
            run_trial(store, *values)
        store.delete_weights()
        assert with_weights(store) == [0, 1, 3]
