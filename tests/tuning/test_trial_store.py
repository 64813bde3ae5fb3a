"""The record of a study: nothing is lost when it is killed, nothing is there twice, and Optuna reads it as its own."""

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
from clearsight.testing.searchers import ACCURACY, MIXED, NUMBERS, lived, proposed, record, reopened
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.searchers.tpe import TPE
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.trial_store import TrialStore, read_trials, stored_trials


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[TrialStore]:
    with record(tmp_path / "s", Random(), NUMBERS) as opened:
        yield opened


def completed(number: int, value: float = 0.5, **facts: Any) -> TrialResult:
    return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), **facts)


# --- what is entered ----------------------------------------------------------------------------------------------


def test_a_proposed_trial_is_on_disk_before_anybody_hears_of_it(ledger: TrialStore) -> None:
    trial = proposed(ledger)
    assert (trial.number, trial.state) == (0, TrialState.RUNNING)
    assert NUMBERS.holds(trial.params)
    assert ledger.folder(0).proposed() == (dict(trial.params), 1)


def test_an_outcome_is_entered_whole(ledger: TrialStore) -> None:
    proposed(ledger)
    ledger.note(0, worker=0, planned=5, started=10.0)
    outcome = completed(
        0,
        0.75,
        curve={1: {"accuracy": 0.5, "loss": 2.0}, 2: {"accuracy": 0.75, "loss": 1.0}},
        scores={"accuracy": 0.75, "loss": 1.0},
        best_epoch=2,
        started=100.0,
        seconds=12.5,
        spared_seconds=2.5,
    )
    trial = ledger.finish(outcome, attempts=2)
    assert trial == ledger.trial(0) == ledger.trials()[0]
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
        spared_seconds=2.5,
        worker=0,
        planned=5,
        attempts=2,
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_no_number_is_a_failure_with_a_reason(ledger: TrialStore, value: float) -> None:
    proposed(ledger)
    trial = ledger.finish(completed(0, value))
    assert (trial.state, trial.values) == (TrialState.FAILED, ())
    assert trial.reason == f"an objective is no number ({value})"


def test_pruned_and_failed_ones_have_a_reason_and_no_value(ledger: TrialStore) -> None:
    for number, state in enumerate((TrialState.PRUNED, TrialState.FAILED)):
        ledger.epoch(proposed(ledger).number, 1, 0.25)
        trial = ledger.finish(TrialResult(number=number, state=state, reason="it was not to be"))
        assert (trial.state, trial.values, trial.reason) == (state, (), "it was not to be")
        assert trial.curve == {1: 0.25}


def test_epochs_are_entered_once(ledger: TrialStore) -> None:
    """A trial that is tried again tells its first epochs again."""
    proposed(ledger)
    for value in (0.5, 0.9):
        assert ledger.epoch(0, 1, value) == ""
    assert ledger.trial(0).curve == {1: 0.5}


def test_a_curve_of_something_else_than_an_epochs_score_is_empty(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, objectives=(Objective("seconds", "minimize"),)) as ledger:
        proposed(ledger)
        assert ledger.finish(completed(0, 3.0, curve={1: {"accuracy": 0.5}})).curve == {}


def test_what_is_behind_the_others_is_told_to_stop(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, pruner="median") as ledger:
        assert ledger.prunes
        for number in range(5):
            proposed(ledger)
            for epoch in (1, 2, 3):
                assert ledger.epoch(number, epoch, 0.8) == ""
            ledger.finish(completed(number, 0.8))
        proposed(ledger)
        assert ledger.epoch(5, 1, 0.1) == ""
        assert ledger.epoch(5, 2, math.nan) == ""  # that is for others to judge
        assert ledger.epoch(5, 3, 0.12345) == "accuracy 0.1235 after epoch 3 is behind the others"


def test_with_several_objectives_nothing_says_who_is_behind(tmp_path: Path) -> None:
    aims = (ACCURACY, Objective("loss", "minimize"))
    with record(tmp_path / "s", Random(), NUMBERS, objectives=aims, pruner="median") as ledger:
        assert not ledger.prunes
        proposed(ledger)
        assert ledger.epoch(0, 1, 0.5) == ""
        assert ledger.finish(TrialResult(number=0, state=TrialState.COMPLETE, values=(0.5, 2.0))).values == (0.5, 2.0)


# --- what others see ----------------------------------------------------------------------------------------------


def test_is_equal_after_reopening(tmp_path: Path) -> None:
    with record(tmp_path / "s", TPE(), MIXED) as ledger:
        lived(ledger, 9)
        ledger.note(3, worker=0, planned=7)
        before = ledger.trials()
    with reopened(tmp_path / "s", TPE()) as ledger:
        assert ledger.trials() == before
    assert read_trials(Study.open(tmp_path / "s")) == before


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_another_process_sees_what_goes_on(tmp_path: Path, pruner: str) -> None:
    with record(tmp_path / "s", Random(), NUMBERS, pruner=pruner) as ledger:
        assert read_trials(ledger.study) == []
        proposed(ledger)
        ledger.note(0, worker=1)
        ledger.epoch(0, 1, 0.5)
        ledger.flush()
        (seen,) = read_trials(Study.open(tmp_path / "s"))
        assert seen == ledger.trial(0)
        assert (seen.curve, seen.worker) == ({1: 0.5}, 1)


def test_optuna_reads_it_as_its_own(tmp_path: Path) -> None:
    with record(tmp_path / "s", TPE(), MIXED) as ledger:
        trials = lived(ledger, 9)
    study = optuna.load_study(study_name="s", storage=file_url(tmp_path / "s" / "study.db"))
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    words = {
        TrialState.COMPLETE: OptunaState.COMPLETE,
        TrialState.PRUNED: OptunaState.PRUNED,
        TrialState.FAILED: OptunaState.FAIL,
        TrialState.RUNNING: OptunaState.RUNNING,
    }
    for ours, theirs in zip(trials, study.trials, strict=True):
        assert theirs.number == ours.number
        assert theirs.state is words[ours.state]
        assert theirs.params == ours.params
        assert theirs.intermediate_values == ours.curve
        if ours.state is TrialState.COMPLETE:
            assert theirs.values == list(ours.values)
        assert theirs.user_attrs.get("reason", "") == ours.reason
        assert theirs.user_attrs.get("seconds", 0.0) == ours.seconds
    assert study.best_value == max(trial.values[0] for trial in trials if trial.values)


def test_trials_of_any_storage_by_name(tmp_path: Path) -> None:
    url = file_url(tmp_path / "all.db")
    with record(tmp_path / "one", Random(), NUMBERS, storage=url) as ledger:
        trials = lived(ledger, 3)
    assert [one.params for one in stored_trials(url, "")] == [trial.params for trial in trials]
    optuna.create_study(storage=storage.open_storage(url), study_name="two")
    assert stored_trials(url, "two") == []
    with pytest.raises(NotFound, match=r"all\.db: there is no such study; there are one, two"):
        stored_trials(url, "")
    with pytest.raises(NotFound, match=r"all\.db three: there is no such study; there are one, two"):
        stored_trials(url, "three")


def test_a_study_that_has_no_record_yet_has_no_trials(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        pass
    (tmp_path / "s" / "study.db").unlink()
    assert read_trials(ledger.study) == []
    assert not (tmp_path / "s" / "study.db").exists()


# --- from earlier studies -----------------------------------------------------------------------------------------


def test_trials_of_an_earlier_study_are_there_and_not_its_own(tmp_path: Path) -> None:
    with record(tmp_path / "earlier", Random(), MIXED) as ledger:
        earlier = lived(ledger, 7)
    with record(tmp_path / "s", Random(), MIXED) as ledger:
        assert ledger.bring(earlier, "earlier") == 5  # four complete and a pruned one; one failed, one never ended
        assert [trial.own for trial in ledger.trials()] == [False] * 5
        assert [trial.source for trial in ledger.trials()] == ["earlier"] * 5
        assert [trial.params for trial in ledger.trials()] == [earlier[number].params for number in (0, 1, 2, 4, 6)]
        assert proposed(ledger).number == 5
        before = ledger.trials()
        assert not (ledger.folder(0).path).exists()
        assert [trial.number for trial in ledger.take_up()] == [5]
    assert read_trials(Study.open(tmp_path / "s")) == before


def test_what_does_not_fit_is_not_brought(ledger: TrialStore) -> None:
    def trial(values: tuple[float, ...] = (0.5,), source: str = "", **params: Any) -> Trial:
        point = {"lr": 0.01, "weight_decay": 0.01, **params}
        return Trial(number=0, state=TrialState.COMPLETE, params=point, values=values, source=source)

    unfit = [trial(lr=0.9), trial(epochs=3), trial(values=(0.5, 1.0)), trial(source="earlier still")]
    assert ledger.bring([*unfit, trial()], "earlier") == 1


def test_brought_trials_are_in_the_storage_before_any_point_is_proposed(tmp_path: Path) -> None:
    with record(tmp_path / "earlier", Random(), NUMBERS) as ledger:
        earlier = lived(ledger, 3)
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        ledger.bring(earlier, "earlier")
        assert len(read_trials(ledger.study)) == 3


def test_what_a_kill_left_out_of_an_earlier_study_is_brought(tmp_path: Path) -> None:
    with record(tmp_path / "earlier", Random(), NUMBERS) as ledger:
        earlier = lived(ledger, 5)
    fitting = [trial for trial in earlier if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        assert ledger.bring(fitting[:2], "earlier") == 2  # and then it was killed
    with reopened(tmp_path / "s", Random()) as ledger:
        assert ledger.bring(earlier, "earlier") == len(fitting) - 2
        assert [trial.params for trial in ledger.trials()] == [trial.params for trial in fitting]


def test_a_grid_ends(tmp_path: Path) -> None:
    with record(tmp_path / "s", Grid(), NUMBERS) as ledger:
        assert len(list(iter(ledger.propose, None))) == 25
        assert ledger.propose() is None
        assert len(ledger.trials()) == 25


def test_a_point_is_json(tmp_path: Path) -> None:
    """Whatever a searcher draws with, what lies on disk are plain values that come back the same."""
    for searcher in (TPE(), QuasiRandom(), Grid()):
        with record(tmp_path / type(searcher).__name__, searcher, MIXED) as ledger:
            for trial in lived(ledger, 3):
                kept = json.loads((ledger.folder(trial.number).path / "trial.json").read_text())
                assert kept["params"] == trial.params
                assert {type(value) for value in kept["params"].values()} <= {int, float, str, bool}
