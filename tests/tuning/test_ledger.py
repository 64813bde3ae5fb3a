"""The record of a study: nothing is lost when it is killed, nothing is there twice, and Optuna reads it as its own."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from clearsight.core.errors import BadValue, NotFound, StudyUnavailable
from clearsight.core.space import Choice, Dimension, Real, Space
from clearsight.core.study import Study
from clearsight.core.trial import Objective, Outcome, Trial, TrialState
from clearsight.testing.searchers import ACCURACY, MIXED, NUMBERS, lived, proposed, record, reopened
from clearsight.tuning import storage
from clearsight.tuning.ledger import Ledger, alone, check_storage, read_trials, stored_trials
from clearsight.tuning.searchers.grid import Grid
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.searchers.tpe import TPE
from clearsight.tuning.storage import file_url
from clearsight.tuning.trial_folder import numbers


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with record(tmp_path / "s", Random(), NUMBERS) as opened:
        yield opened


def completed(number: int, value: float = 0.5, **facts: Any) -> Outcome:
    return Outcome(number=number, state=TrialState.COMPLETE, values=(value,), **facts)


# --- what is entered ----------------------------------------------------------------------------------------------


def test_a_proposed_trial_is_on_disk_before_anybody_hears_of_it(ledger: Ledger) -> None:
    trial = proposed(ledger)
    assert (trial.number, trial.state) == (0, TrialState.RUNNING)
    assert NUMBERS.holds(trial.params)
    assert ledger.folder(0).proposed() == (dict(trial.params), 1)


def test_an_outcome_is_entered_whole(ledger: Ledger) -> None:
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
def test_an_objective_that_is_no_number_is_a_failure_with_a_reason(ledger: Ledger, value: float) -> None:
    proposed(ledger)
    trial = ledger.finish(completed(0, value))
    assert (trial.state, trial.values) == (TrialState.FAILED, ())
    assert trial.reason == f"an objective is no number ({value})"


def test_pruned_and_failed_ones_have_a_reason_and_no_value(ledger: Ledger) -> None:
    for number, state in enumerate((TrialState.PRUNED, TrialState.FAILED)):
        ledger.epoch(proposed(ledger).number, 1, 0.25)
        trial = ledger.finish(Outcome(number=number, state=state, reason="it was not to be"))
        assert (trial.state, trial.values, trial.reason) == (state, (), "it was not to be")
        assert trial.curve == {1: 0.25}


def test_epochs_are_entered_once(ledger: Ledger) -> None:
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
        assert ledger.finish(Outcome(number=0, state=TrialState.COMPLETE, values=(0.5, 2.0))).values == (0.5, 2.0)


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


# --- after a kill -------------------------------------------------------------------------------------------------


def killed(before: Path, after: Path) -> None:
    """What lies on disk of a study at this moment, as a kill would leave it."""

    def copy(one: str, to: str) -> None:
        with suppress(FileNotFoundError):  # SQLite takes its side files away when a connection closes
            shutil.copy2(one, to)

    shutil.copytree(before, after, copy_function=copy)


def test_an_outcome_on_disk_that_nobody_was_told_is_entered(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        points = [proposed(ledger).params for _ in range(2)]
        ledger.flush()
        ledger.folder(0).conclude(completed(0, 0.75, curve={1: {"accuracy": 0.75}}))
        killed(tmp_path / "s", tmp_path / "k" / "s")
    with reopened(tmp_path / "k" / "s", Random()) as ledger:
        (left,) = ledger.take_up()
        assert left.number == 1
        done, running = ledger.trials()
        assert (done.state, done.values, done.curve) == (TrialState.COMPLETE, (0.75,), {1: 0.75})
        assert [done.params, running.params] == points
        assert ledger.take_up() == [left]  # and once more changes nothing


def test_a_point_on_disk_that_the_storage_lacks_is_in_it(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        proposed(ledger)
        ledger.flush()
        shutil.copy(tmp_path / "s" / "study.db", tmp_path / "early.db")
        expected = [trial.params for trial in (ledger.trial(0), proposed(ledger), proposed(ledger))]
        ledger.folder(2).conclude(completed(2))
        killed(tmp_path / "s", tmp_path / "k" / "s")
    for rest in (tmp_path / "k" / "s").glob("study.db*"):
        rest.unlink()
    shutil.copy(tmp_path / "early.db", tmp_path / "k" / "s" / "study.db")
    with reopened(tmp_path / "k" / "s", Random()) as ledger:
        known = len(ledger.trials())
        assert known < 3
        assert [trial.number for trial in ledger.take_up()] == [0, 1]
        assert [trial.params for trial in ledger.trials()] == expected
        assert ledger.trial(2).state is TrialState.COMPLETE
        assert proposed(ledger).number == 3
    assert len(read_trials(Study.open(tmp_path / "k" / "s"))) == 4


def test_everything_comes_back_from_the_folders_alone(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        for number in range(4):
            proposed(ledger)
            ledger.folder(number).conclude(completed(number, number / 10))
    for rest in (tmp_path / "s").glob("study.db*"):
        rest.unlink()
    with reopened(tmp_path / "s", Random()) as ledger:
        assert ledger.take_up() == []
        assert [trial.values for trial in ledger.trials()] == [(0.0,), (0.1,), (0.2,), (0.3,)]


def test_a_trial_under_way_comes_back_with_its_attempts(tmp_path: Path) -> None:
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        trial = proposed(ledger)
        ledger.epoch(0, 1, 0.5)
        ledger.folder(0).propose(trial.params, attempts=2)
    with reopened(tmp_path / "s", Random()) as ledger:
        (left,) = ledger.take_up()
        assert (left.number, left.attempts, left.curve) == (0, 2, {1: 0.5})


def test_a_folder_behind_a_gap_is_no_trial(tmp_path: Path) -> None:
    """Nobody can say what came between; its number is given out again, and what lay there is gone then."""
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        ledger.folder(1).propose({"lr": 0.1, "weight_decay": 0.1})
        ledger.folder(1).conclude(completed(1))
        assert ledger.take_up() == []
        proposed(ledger)
        assert ledger.folder(proposed(ledger).number).outcome() is None


_LOOP = """
import sys
from pathlib import Path
from clearsight.core.study import Study
from clearsight.core.trial import Outcome, TrialState
from clearsight.tuning.ledger import Ledger, alone
from clearsight.tuning.searchers.random import Random
study = Study.open(Path(sys.argv[1]))
with alone(study):
    ledger = Ledger(study, Random(), "none", 10)
    left = ledger.take_up()
    print("begun", flush=True)
    while True:
        trial = left.pop() if left else ledger.propose()
        outcome = Outcome(number=trial.number, state=TrialState.COMPLETE, values=(trial.number / 1000,))
        ledger.folder(trial.number).conclude(outcome)
        ledger.finish(outcome)
        print(trial.number, flush=True)
"""


def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """A process that proposes and finishes is killed four times in the middle, and another goes on."""
    with record(tmp_path / "s", Random(), NUMBERS) as ledger:
        study = ledger.study
    chance = random.Random(7)
    for _ in range(4):
        command = [sys.executable, "-c", _LOOP, str(study.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            for _ in range(chance.randrange(25)):
                assert child.stdout.readline()
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
    with reopened(study.path, Random()) as ledger:
        left = ledger.take_up()
        trials = ledger.trials()
        there = [number for number in numbers(study.path / "trials") if ledger.folder(number).proposed()]
    assert [trial.number for trial in trials] == there == list(range(len(there)))
    assert len(left) <= 1
    assert read_trials(study) == trials
    for trial in trials:
        point, outcome = ledger.folder(trial.number).proposed(), ledger.folder(trial.number).outcome()
        assert point is not None
        assert trial.params == point[0]
        assert (trial.state is TrialState.COMPLETE) == (outcome is not None)
        if outcome is not None:
            assert trial.values == outcome.values == (trial.number / 1000,)
    with record(tmp_path / "whole", Random(), NUMBERS) as ledger:
        assert [proposed(ledger).params for _ in trials] == [trial.params for trial in trials]  # as if never killed


# --- several at one storage ---------------------------------------------------------------------------------------


def test_two_propose_into_one_storage_without_clashing(tmp_path: Path) -> None:
    url, points, trouble = file_url(tmp_path / "all.db"), dict[int, Any](), list[BaseException]()
    with (
        record(tmp_path / "a", QuasiRandom(), NUMBERS, storage=url) as one,
        record(tmp_path / "b", QuasiRandom(), NUMBERS, storage=url) as unnamed,
    ):
        unnamed.study.name = one.study.name
        other = Ledger(unnamed.study, QuasiRandom(), "none", 10)
        together = threading.Barrier(2)

        def work(ledger: Ledger) -> None:
            try:
                together.wait()
                for _ in range(6):
                    trial = proposed(ledger)
                    assert trial.number not in points
                    points[trial.number] = trial.params
                    ledger.finish(completed(trial.number))
            except BaseException as error:
                trouble.append(error)

        threads = [threading.Thread(target=work, args=(ledger,)) for ledger in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert trouble == []
        assert sorted(points) == list(range(12))
        assert [trial.params for trial in one.trials()] == [points[number] for number in range(12)]
        assert one.trials() == other.trials()
        halves = numbers(one.study.path / "trials"), numbers(other.study.path / "trials")
        assert sorted([*halves[0], *halves[1]]) == list(range(12))
    with record(tmp_path / "c", QuasiRandom(), NUMBERS) as alone_:
        assert [proposed(alone_).params for _ in range(12)] == [points[number] for number in range(12)]


def test_a_shared_study_is_joined_with_its_own_aims_and_choices(tmp_path: Path) -> None:
    url = file_url(tmp_path / "shared.db")
    with record(tmp_path / "a", Random(), MIXED, storage=url) as ledger:
        proposed(ledger)
        plan = ledger.study.plan
    check_storage(plan, "a")
    check_storage(replace(plan, objectives=(Objective("loss", "minimize"),)), "another name")
    with pytest.raises(BadValue, match=r"shared\.db a: that study aims at accuracy \(maximized\)\. Say the same, or"):
        check_storage(replace(plan, objectives=(Objective("macro_f1", "maximize"),)), "a")
    with pytest.raises(BadValue, match="that study aims at accuracy"):
        check_storage(replace(plan, objectives=(*plan.objectives, Objective("loss", "minimize"))), "a")
    more = Space((Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd", "adam"))),))
    with pytest.raises(BadValue, match="that study has optimizer as CategoricalDistribution"):
        check_storage(replace(plan, space=more), "a")
    wider = Space((Dimension(name="lr", domain=Real(low=1e-6, high=1.0, log=True)),))
    check_storage(replace(plan, space=wider), "a")


def test_each_takes_up_its_own_trials_in_a_shared_storage(tmp_path: Path) -> None:
    url = file_url(tmp_path / "all.db")
    with record(tmp_path / "a", Random(), NUMBERS, storage=url) as one:
        proposed(one)
        one.study.path = tmp_path / "elsewhere"  # another machine's folder
        proposed(one)
        assert [trial.number for trial in one.take_up()] == [1]
        one.study.path = tmp_path / "a"
        assert [trial.number for trial in one.take_up()] == [0]


def test_alone_is_alone(ledger: Ledger) -> None:
    with alone(ledger.study):
        with pytest.raises(StudyUnavailable, match=r"another process works on this study\. Wait for it, or end it fir"):
            alone(ledger.study).__enter__()
        assert read_trials(ledger.study) == []  # to look is always allowed
    with alone(ledger.study):
        pass


def test_a_locked_study_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr(storage, "_PATIENCE", 0.05)
    with record(tmp_path / "s", Random(), NUMBERS):
        pass
    other = sqlite3.connect(tmp_path / "s" / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StudyUnavailable, match=r"study\.db: somebody else has it locked"):
            Ledger(Study.open(tmp_path / "s"), Random(), "none", 10)
    finally:
        other.close()


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


def test_what_does_not_fit_is_not_brought(ledger: Ledger) -> None:
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
