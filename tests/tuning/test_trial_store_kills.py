"""TrialStore.recover: after a kill nothing is lost, and nothing is there twice."""

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
from clearsight.testing.searchers import NUMBERS, new_store, propose, reopen_store
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage.trial_folder import trial_numbers
from clearsight.tuning.trial_store import read_trials


def completed(number: int, value: float = 0.5, **facts: Any) -> TrialResult:
    return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), **facts)


def copy_as_killed(source: Path, target: Path) -> None:
    """Copy a study folder as a kill at this moment would leave it."""

    def copy(file: str, copied: str) -> None:
        with suppress(FileNotFoundError):  # SQLite removes its side files when a connection closes
            shutil.copy2(file, copied)

    shutil.copytree(source, target, copy_function=copy)


def test_an_unreported_result_on_disk_is_recorded(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        params = [propose(store).params for _ in range(2)]
        store.flush()
        store.folder(0).write_result(completed(0, 0.75, curve={1: {"accuracy": 0.75}}))
        copy_as_killed(tmp_path / "s", tmp_path / "k" / "s")
    with reopen_store(tmp_path / "k" / "s", Random()) as store:
        (running,) = store.recover()
        assert running.number == 1
        complete, still_running = store.trials()
        assert (complete.state, complete.values, complete.curve) == (TrialState.COMPLETE, (0.75,), {1: 0.75})
        assert [complete.params, still_running.params] == params
        assert store.recover() == [running]  # a second time changes nothing


def test_a_proposal_that_the_storage_lacks_is_added(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        propose(store)
        store.flush()
        shutil.copy(tmp_path / "s" / "study.db", tmp_path / "early.db")
        expected = [trial.params for trial in (store.trial(0), propose(store), propose(store))]
        store.folder(2).write_result(completed(2))
        copy_as_killed(tmp_path / "s", tmp_path / "k" / "s")
    for file in (tmp_path / "k" / "s").glob("study.db*"):
        file.unlink()
    shutil.copy(tmp_path / "early.db", tmp_path / "k" / "s" / "study.db")
    with reopen_store(tmp_path / "k" / "s", Random()) as store:
        known = len(store.trials())
        assert known < 3
        assert [trial.number for trial in store.recover()] == [0, 1]
        assert [trial.params for trial in store.trials()] == expected
        assert store.trial(2).state is TrialState.COMPLETE
        assert propose(store).number == 3
    assert len(read_trials(Study.open(tmp_path / "k" / "s"))) == 4


def test_a_lost_storage_is_rebuilt_from_the_folders(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        for number in range(4):
            propose(store)
            store.folder(number).write_result(completed(number, number / 10))
    for file in (tmp_path / "s").glob("study.db*"):
        file.unlink()
    with reopen_store(tmp_path / "s", Random()) as store:
        assert store.recover() == []
        assert [trial.values for trial in store.trials()] == [(0.0,), (0.1,), (0.2,), (0.3,)]


def test_a_running_trial_comes_back_with_its_attempts(tmp_path: Path) -> None:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        trial = propose(store)
        store.report_epoch(0, 1, 0.5)
        store.folder(0).write_proposal(trial.params, attempts=2)
    with reopen_store(tmp_path / "s", Random()) as store:
        (running,) = store.recover()
        assert (running.number, running.attempts, running.curve) == (0, 2, {1: 0.5})


def test_a_folder_after_a_gap_is_no_trial(tmp_path: Path) -> None:
    """Nobody knows the trials in the gap. The number is proposed again, and the folder is cleared then."""
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        store.folder(1).write_proposal({"lr": 0.1, "weight_decay": 0.1})
        store.folder(1).write_result(completed(1))
        assert store.recover() == []
        propose(store)
        assert store.folder(propose(store).number).result() is None


_LOOP = """
import sys
from pathlib import Path
from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.trial_store import TrialStore
from clearsight.tuning.searchers.random import Random
study = Study.open(Path(sys.argv[1]))
with study.lock():
    store = TrialStore(study, Random(), "none", 10)
    running = store.recover()
    print("started", flush=True)
    while True:
        trial = running.pop() if running else store.propose()
        result = TrialResult(number=trial.number, state=TrialState.COMPLETE, values=(trial.number / 1000,))
        store.folder(trial.number).write_result(result)
        store.finish(result)
        print(trial.number, flush=True)
"""


def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """A process that proposes and finishes trials is killed four times, and another one continues each time."""
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        study = store.study
    generator = random.Random(7)
    for _ in range(4):
        command = [sys.executable, "-c", _LOOP, str(study.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "started\n"
            for _ in range(generator.randrange(25)):
                assert child.stdout.readline()
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
    with reopen_store(study.path, Random()) as store:
        running = store.recover()
        trials = store.trials()
        proposed = [number for number in trial_numbers(study.path / "trials") if store.folder(number).proposal()]
    assert [trial.number for trial in trials] == proposed == list(range(len(proposed)))
    assert len(running) <= 1
    assert read_trials(study) == trials
    for trial in trials:
        proposal, result = store.folder(trial.number).proposal(), store.folder(trial.number).result()
        assert proposal is not None
        assert trial.params == proposal[0]
        assert (trial.state is TrialState.COMPLETE) == (result is not None)
        if result is not None:
            assert trial.values == result.values == (trial.number / 1000,)
    with new_store(tmp_path / "undisturbed", Random(), NUMBERS) as store:
        assert [propose(store).params for _ in trials] == [trial.params for trial in trials]
