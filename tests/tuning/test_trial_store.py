"""TrialStore: proposals, epochs and results are recorded, and Optuna can read them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from clearsight.core.errors import NotFound
from clearsight.core.study import Study
from clearsight.core.trial import Objective, Trial, TrialResult, TrialState
from clearsight.testing.searchers import ACCURACY, MIXED, NUMBERS, new_store, propose, reopen_store, run_trials
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.searchers.tpe import TPE
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.trial_store import TrialStore, read_trials, stored_trials


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrialStore]:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        yield store


def completed(number: int, value: float = 0.5, **facts: Any) -> TrialResult:
    return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), **facts)


# --- recording --------------------------------------------------------------------------------------------------------


def test_a_proposed_trial_is_on_disk(store: TrialStore) -> None:
    trial = propose(store)
    assert (trial.number, trial.state) == (0, TrialState.RUNNING)
    assert NUMBERS.contains(trial.params)
    assert store.folder(0).proposal() == (dict(trial.params), 1)


def test_a_result_is_recorded_with_all_fields(store: TrialStore) -> None:
    propose(store)
    store.update(0, worker=0, planned=5, started=10.0)
    result = completed(
        0,
        0.75,
        curve={1: {"accuracy": 0.5, "loss": 2.0}, 2: {"accuracy": 0.75, "loss": 1.0}},
        scores={"accuracy": 0.75, "loss": 1.0},
        best_epoch=2,
        started=100.0,
        seconds=12.5,
        saved_seconds=2.5,
    )
    trial = store.finish(result, attempts=2)
    assert trial == store.trial(0) == store.trials()[0]
    assert trial == Trial(
        number=0,
        state=TrialState.COMPLETE,
        params=trial.params,
        values=(0.75,),
        curve={1: 0.5, 2: 0.75},
        scores={"accuracy": 0.75, "loss": 1.0},
        best_epoch=2,
        started=100.0,
        seconds=12.5,
        saved_seconds=2.5,
        worker=0,
        planned=5,
        attempts=2,
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(store: TrialStore, value: float) -> None:
    propose(store)
    trial = store.finish(completed(0, value))
    assert (trial.state, trial.values) == (TrialState.FAILED, ())
    assert trial.reason == f"an objective is not a finite number ({value})"


def test_pruned_and_failed_trials_have_a_reason_and_no_value(store: TrialStore) -> None:
    for number, state in enumerate((TrialState.PRUNED, TrialState.FAILED)):
        store.report_epoch(propose(store).number, 1, 0.25)
        trial = store.finish(TrialResult(number=number, state=state, reason="the test ended it"))
        assert (trial.state, trial.values, trial.reason) == (state, (), "the test ended it")
        assert trial.curve == {1: 0.25}


def test_an_epoch_is_recorded_once(store: TrialStore) -> None:
    """A trial that is tried again reports its first epochs again."""
    propose(store)
    for value in (0.5, 0.9):
        assert store.report_epoch(0, 1, value) == ""
    assert store.trial(0).curve == {1: 0.5}


def test_an_objective_without_a_score_per_epoch_has_no_curve(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, objectives=(Objective("seconds", "minimize"),)) as store:
        propose(store)
        assert store.finish(completed(0, 3.0, curve={1: {"accuracy": 0.5}})).curve == {}


def test_a_trial_worse_than_the_others_is_pruned(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, pruner="median") as store:
        assert store.prunes
        for number in range(5):
            propose(store)
            for epoch in (1, 2, 3):
                assert store.report_epoch(number, epoch, 0.8) == ""
            store.finish(completed(number, 0.8))
        propose(store)
        assert store.report_epoch(5, 1, 0.1) == ""
        assert store.report_epoch(5, 2, math.nan) == ""  # left to the worker
        assert (
            store.report_epoch(5, 3, 0.12345) == "accuracy 0.1235 after epoch 3 is worse than that of the other trials"
        )


def test_with_several_objectives_no_trial_is_pruned(tmp_path: Path) -> None:
    objectives = (ACCURACY, Objective("loss", "minimize"))
    with new_store(tmp_path / "s", Random(), NUMBERS, objectives=objectives, pruner="median") as store:
        assert not store.prunes
        propose(store)
        assert store.report_epoch(0, 1, 0.5) == ""
        assert store.finish(TrialResult(number=0, state=TrialState.COMPLETE, values=(0.5, 2.0))).values == (0.5, 2.0)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_trials_are_equal_after_reopening(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", TPE(), MIXED) as store:
        run_trials(store, 9)
        store.update(3, worker=0, planned=7)
        before = store.trials()
    with reopen_store(tmp_path / "s", TPE()) as store:
        assert store.trials() == before
    assert read_trials(Study.open(tmp_path / "s")) == before


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_another_process_sees_running_trials(tmp_path: Path, pruner: str) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS, pruner=pruner) as store:
        assert read_trials(store.study) == []
        propose(store)
        store.update(0, worker=1)
        store.report_epoch(0, 1, 0.5)
        store.flush()
        (trial,) = read_trials(Study.open(tmp_path / "s"))
        assert trial == store.trial(0)
        assert (trial.curve, trial.worker) == ({1: 0.5}, 1)


def test_optuna_reads_the_study(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", TPE(), MIXED) as store:
        trials = run_trials(store, 9)
    study = optuna.load_study(study_name="s", storage=file_url(tmp_path / "s" / "study.db"))
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    states = {
        TrialState.COMPLETE: OptunaState.COMPLETE,
        TrialState.PRUNED: OptunaState.PRUNED,
        TrialState.FAILED: OptunaState.FAIL,
        TrialState.RUNNING: OptunaState.RUNNING,
    }
    for trial, frozen in zip(trials, study.trials, strict=True):
        assert frozen.number == trial.number
        assert frozen.state is states[trial.state]
        assert frozen.params == trial.params
        assert frozen.intermediate_values == trial.curve
        if trial.state is TrialState.COMPLETE:
            assert frozen.values == list(trial.values)
        assert frozen.user_attrs.get("reason", "") == trial.reason
        assert frozen.user_attrs.get("seconds", 0.0) == trial.seconds
    assert study.best_value == max(trial.values[0] for trial in trials if trial.values)


def test_stored_trials_are_found_by_the_name_of_their_study(tmp_path: Path) -> None:
    url = file_url(tmp_path / "all.db")
    with new_store(tmp_path / "one", Random(), NUMBERS, storage=url) as store:
        trials = run_trials(store, 3)
    assert [trial.params for trial in stored_trials(url, "")] == [trial.params for trial in trials]
    optuna.create_study(storage=storage.open_storage(url), study_name="two")
    assert stored_trials(url, "two") == []
    with pytest.raises(NotFound, match=r"all\.db: no such study in this storage; it has one, two"):
        stored_trials(url, "")
    with pytest.raises(NotFound, match=r"all\.db three: no such study in this storage; it has one, two"):
        stored_trials(url, "three")


def test_a_study_without_a_storage_has_no_trials(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        pass
    (tmp_path / "s" / "study.db").unlink()
    assert read_trials(store.study) == []
    assert not (tmp_path / "s" / "study.db").exists()


# --- trials of earlier studies ----------------------------------------------------------------------------------------


def test_imported_trials_come_first_and_are_marked(tmp_path: Path) -> None:
    with new_store(tmp_path / "earlier", Random(), MIXED) as store:
        earlier = run_trials(store, 7)
    with new_store(tmp_path / "s", Random(), MIXED) as store:
        assert (
            store.import_trials(earlier, "earlier") == 5
        )  # four complete and a pruned one; one has failed, one still runs
        assert [trial.imported for trial in store.trials()] == [True] * 5
        assert [trial.source for trial in store.trials()] == ["earlier"] * 5
        assert [trial.params for trial in store.trials()] == [earlier[number].params for number in (0, 1, 2, 4, 6)]
        assert propose(store).number == 5
        before = store.trials()
        assert not (store.folder(0).path).exists()
        assert [trial.number for trial in store.recover()] == [5]
    assert read_trials(Study.open(tmp_path / "s")) == before


def test_trials_that_do_not_fit_are_not_imported(store: TrialStore) -> None:
    def trial(values: tuple[float, ...] = (0.5,), source: str = "", **params: Any) -> Trial:
        values_of = {"lr": 0.01, "weight_decay": 0.01, **params}
        return Trial(number=0, state=TrialState.COMPLETE, params=values_of, values=values, source=source)

    unfit = [trial(lr=0.9), trial(epochs=3), trial(values=(0.5, 1.0)), trial(source="earlier still")]
    assert store.import_trials([*unfit, trial()], "earlier") == 1


def test_imported_trials_are_in_the_storage_before_the_first_proposal(tmp_path: Path) -> None:
    with new_store(tmp_path / "earlier", Random(), NUMBERS) as store:
        earlier = run_trials(store, 3)
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        store.import_trials(earlier, "earlier")
        assert len(read_trials(store.study)) == 3


def test_an_import_continues_after_a_kill(tmp_path: Path) -> None:
    with new_store(tmp_path / "earlier", Random(), NUMBERS) as store:
        earlier = run_trials(store, 5)
    fitting = [trial for trial in earlier if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        assert store.import_trials(fitting[:2], "earlier") == 2  # then it is killed
    with reopen_store(tmp_path / "s", Random()) as store:
        assert store.import_trials(earlier, "earlier") == len(fitting) - 2
        assert [trial.params for trial in store.trials()] == [trial.params for trial in fitting]


def test_a_grid_proposes_each_combination_once(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Grid(), NUMBERS) as store:
        assert len(list(iter(store.propose, None))) == 25
        assert store.propose() is None
        assert len(store.trials()) == 25


def test_proposals_are_plain_json(tmp_path: Path) -> None:
    """A searcher may draw numpy values; the file has plain values that come back the same."""
    for searcher in (TPE(), QuasiRandom(), Grid()):
        with new_store(tmp_path / type(searcher).__name__, searcher, MIXED) as store:
            for trial in run_trials(store, 3):
                fields = json.loads((store.folder(trial.number).path / "trial.json").read_text())
                assert fields["params"] == trial.params
                assert {type(value) for value in fields["params"].values()} <= {int, float, str, bool}
