"""What a kill leaves of a study is set right when it is taken up: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.testing.searchers import NUMBERS, proposed, record, reopened
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage.trial_folder import numbers
from clearsight.tuning.trial_store import read_trials


def completed(number: int, value: float = 0.5, **facts: Any) -> TrialResult:
    return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), **facts)


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
from clearsight.tuning.trial_store import Ledger, alone
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
