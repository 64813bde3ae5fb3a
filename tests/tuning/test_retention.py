"""Of the best trials the weights stay, of all others the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.trial import Objective, TrialResult, TrialState
from clearsight.testing.searchers import ACCURACY, NUMBERS, proposed, record
from clearsight.tuning.retention import WeightRetention
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.trial_store import TrialStore


def came_to(ledger: TrialStore, *values: float, state: TrialState = TrialState.COMPLETE, **facts: Any) -> int:
    """A trial with weights on disk."""
    trial = proposed(ledger)
    (ledger.folder(trial.number).path / "head.safetensors").touch()
    if state is not TrialState.RUNNING:
        ledger.finish(TrialResult(number=trial.number, state=state, values=values), **facts)
    return trial.number


def kept(ledger: TrialStore) -> list[int]:
    return [one.number for one in ledger.trials() if (ledger.folder(one.number).path / "head.safetensors").exists()]


def test_the_best_stay(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, keep=2) as ledger:
        shelf = WeightRetention(ledger.study, ledger)
        for value, there in ((0.5, [0]), (0.9, [0, 1]), (0.7, [1, 2]), (0.7, [1, 2]), (0.1, [1, 2])):
            came_to(ledger, value)
            shelf.sort()
            assert kept(ledger) == there


def test_what_is_smaller_is_better_where_that_is_so(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, objectives=(Objective("loss", "minimize"),)) as ledger:
        for value in (0.5, 0.2, 0.9):
            came_to(ledger, value)
        WeightRetention(ledger.study, ledger).sort()
        assert kept(ledger) == [1]


def test_pruned_and_failed_go_and_those_under_way_stay(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        came_to(ledger, state=TrialState.RUNNING)
        came_to(ledger, state=TrialState.PRUNED)
        came_to(ledger, state=TrialState.FAILED)
        WeightRetention(ledger.study, ledger).sort()
        assert kept(ledger) == [0]


def test_the_best_by_an_answer_has_the_weights_of_whom_it_asked(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, keep=1) as ledger:
        came_to(ledger, 0.9)
        came_to(ledger, 0.9, same_as=0)
        came_to(ledger, 0.1)
        WeightRetention(ledger.study, ledger).sort()
        assert kept(ledger) == [0]


def test_the_whole_front_stays(tmp_path: Path) -> None:
    aims = (ACCURACY, Objective("seconds", "minimize"))
    with record(tmp_path / "s", Random(), NUMBERS, objectives=aims) as ledger:
        for values in ((0.9, 9.0), (0.8, 3.0), (0.7, 5.0), (0.5, 1.0)):
            came_to(ledger, *values)
        WeightRetention(ledger.study, ledger).sort()
        assert kept(ledger) == [0, 1, 3]
