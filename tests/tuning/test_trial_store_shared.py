"""A storage that several share: no clash, no mixture, and one sentence where it cannot be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import StudyUnavailable
from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.testing.searchers import NUMBERS, proposed, record
from clearsight.tuning.searchers.qmc import QuasiRandom
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.tuning.storage.trial_folder import numbers
from clearsight.tuning.trial_store import TrialStore, lock_study, read_trials


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[TrialStore]:
    with record(tmp_path / "s", Random(), NUMBERS) as opened:
        yield opened


def test_two_propose_into_one_storage_without_clashing(tmp_path: Path) -> None:
    url, points, trouble = file_url(tmp_path / "all.db"), dict[int, Any](), list[BaseException]()
    with (
        record(tmp_path / "a", QuasiRandom(), NUMBERS, storage=url) as one,
        record(tmp_path / "b", QuasiRandom(), NUMBERS, storage=url) as unnamed,
    ):
        unnamed.study.name = one.study.name
        other = TrialStore(unnamed.study, QuasiRandom(), "none", 10)
        together = threading.Barrier(2)

        def work(ledger: TrialStore) -> None:
            try:
                together.wait()
                for _ in range(6):
                    trial = proposed(ledger)
                    assert trial.number not in points
                    points[trial.number] = trial.params
                    ledger.finish(TrialResult(number=trial.number, state=TrialState.COMPLETE, values=(0.5,)))
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


def test_each_takes_up_its_own_trials_in_a_shared_storage(tmp_path: Path) -> None:
    url = file_url(tmp_path / "all.db")
    with record(tmp_path / "a", Random(), NUMBERS, storage=url) as one:
        proposed(one)
        one.study.path = tmp_path / "elsewhere"  # another machine's folder
        proposed(one)
        assert [trial.number for trial in one.take_up()] == [1]
        one.study.path = tmp_path / "a"
        assert [trial.number for trial in one.take_up()] == [0]


def test_alone_is_alone(ledger: TrialStore) -> None:
    with lock_study(ledger.study):
        with pytest.raises(StudyUnavailable, match=r"another process works on this study\. Wait for it, or end it fir"):
            lock_study(ledger.study).__enter__()
        assert read_trials(ledger.study) == []  # to look is always allowed
    with lock_study(ledger.study):
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
            TrialStore(Study.open(tmp_path / "s"), Random(), "none", 10)
    finally:
        other.close()
