"""TrialStore in a storage that several machines share; and the lock of a study."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import StudyUnavailable
from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.testing.searchers import NUMBERS, new_store, propose
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.storage.trial_folder import trial_numbers
from clearsight.tuning.trial_store import TrialStore, read_trials


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrialStore]:
    with new_store(tmp_path / "s", Random(), NUMBERS) as store:
        yield store


def test_two_machines_propose_different_trials(tmp_path: Path) -> None:
    url, params, errors = file_url(tmp_path / "all.db"), dict[int, Any](), list[BaseException]()
    with (
        new_store(tmp_path / "a", QuasiRandom(), NUMBERS, storage=url) as first,
        new_store(tmp_path / "b", QuasiRandom(), NUMBERS, storage=url) as unnamed,
    ):
        unnamed.study.name = first.study.name
        second = TrialStore(unnamed.study, QuasiRandom(), "none", 10)
        barrier = threading.Barrier(2)

        def work(store: TrialStore) -> None:
            try:
                barrier.wait()
                for _ in range(6):
                    trial = propose(store)
                    assert trial.number not in params
                    params[trial.number] = trial.params
                    store.finish(TrialResult(number=trial.number, state=TrialState.COMPLETE, values=(0.5,)))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(store,)) for store in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert sorted(params) == list(range(12))
        assert [trial.params for trial in first.trials()] == [params[number] for number in range(12)]
        assert first.trials() == second.trials()
        halves = trial_numbers(first.study.path / "trials"), trial_numbers(second.study.path / "trials")
        assert sorted([*halves[0], *halves[1]]) == list(range(12))
    with new_store(tmp_path / "c", QuasiRandom(), NUMBERS) as single:
        assert [propose(single).params for _ in range(12)] == [params[number] for number in range(12)]


def test_each_machine_recovers_the_trials_of_its_folder(tmp_path: Path) -> None:
    url = file_url(tmp_path / "all.db")
    with new_store(tmp_path / "a", Random(), NUMBERS, storage=url) as store:
        propose(store)
        store.study.path = tmp_path / "elsewhere"  # another machine's folder
        propose(store)
        assert [trial.number for trial in store.recover()] == [1]
        store.study.path = tmp_path / "a"
        assert [trial.number for trial in store.recover()] == [0]


def test_a_study_is_locked_once(store: TrialStore) -> None:
    with store.study.lock():
        with pytest.raises(
            StudyUnavailable, match=r"process \d+ on \S+ works on this study\. Wait until it ends, or end"
        ):
            store.study.lock().__enter__()
        assert read_trials(store.study) == []  # reading is always allowed
    with store.study.lock():
        pass


def test_a_locked_storage_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    monkeypatch.setattr(storage, "_PATIENCE", 0.05)
    with new_store(tmp_path / "s", Random(), NUMBERS):
        pass
    other = sqlite3.connect(tmp_path / "s" / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StudyUnavailable, match=r"study\.db: another process has locked it"):
            TrialStore(Study.open(tmp_path / "s"), Random(), "none", 10)
    finally:
        other.close()
