"""Mirror: copies trials from memory into the storage, whole and in order, and reports its errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from clearsight.core.errors import StudyUnavailable
from clearsight.tuning.storage import mirror
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.mirror import Mirror, portable
from clearsight.tuning.storage.optuna_storage import file_url, open_storage, quiet_optuna

FLOAT = optuna.distributions.FloatDistribution(0, 1)


class MirroredStudy:
    """A study in memory with its mirror."""

    def __init__(self, url: str) -> None:
        self.storage: BaseStorage = open_storage(url)
        stored = optuna.create_study(storage=self.storage, study_name="s", load_if_exists=True)
        self.study_id = stored._study_id
        self.memory = optuna.create_study()
        self.mirror = Mirror(url, self.storage, self.study_id, lambda number: self.memory.trials[number])

    def ask(self) -> optuna.trial.Trial:
        trial = self.memory.ask({"x": FLOAT})
        self.mirror.touch(trial.number)
        return trial

    def stored(self) -> list[optuna.trial.FrozenTrial]:
        self.mirror.flush()
        return self.storage.get_all_trials(self.study_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return file_url(tmp_path / "study.db")


@pytest.fixture
def study(url: str) -> Iterator[MirroredStudy]:
    with quiet_optuna():
        opened = MirroredStudy(url)
        yield opened
        if opened.mirror._error is None:
            opened.mirror.close()


def test_a_trial_is_copied_step_by_step(study: MirroredStudy) -> None:
    trial = study.ask()
    assert [trial.params for trial in study.stored()] == [trial.params]
    trial.report(0.5, 1)
    trial.set_user_attr("worker", 0)
    study.mirror.touch(0)
    (stored,) = study.stored()
    assert (stored.intermediate_values, stored.user_attrs, stored.value) == ({1: 0.5}, {"worker": 0}, None)
    study.memory.tell(trial, 0.75)
    study.mirror.touch(0)
    (stored,) = study.stored()
    assert (stored.value, stored.state) == (0.75, optuna.trial.TrialState.COMPLETE)


def test_many_trials_are_copied_in_order(study: MirroredStudy) -> None:
    trials = [study.ask() for _ in range(20)]
    for trial in trials:
        trial.report(float(trial.number), 1)
        study.memory.tell(trial, float(trial.number))
        study.mirror.touch(trial.number)
    stored = study.stored()
    assert [trial.number for trial in stored] == list(range(20))
    assert [trial.value for trial in stored] == [float(number) for number in range(20)]
    assert [trial.params for trial in stored] == [trial.params for trial in study.memory.trials]


def test_a_trial_that_ends_within_the_delay_is_one_transaction(
    study: MirroredStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction per epoch would take as long as a small head trains."""
    calls = []
    for name in ("create_new_trial", "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_state_values"):
        monkeypatch.setattr(study.storage, name, _counted(getattr(study.storage, name), calls))
    trial = study.ask()
    for epoch in range(1, 6):
        trial.report(epoch / 10, epoch)
        study.mirror.touch(0)
    trial.set_user_attr("worker", 0)
    study.memory.tell(trial, 0.5)
    study.mirror.touch(0)
    (stored,) = study.stored()
    assert calls == ["create_new_trial"]
    assert (stored.value, len(stored.intermediate_values), stored.user_attrs) == (0.5, 5, {"worker": 0})


def _counted(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **settings: Any) -> Any:
        calls.append(method.__name__)
        return method(*args, **settings)

    return call


def test_changes_are_copied_without_a_flush(study: MirroredStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_DELAY", 0.05)
    study.ask()
    with study.mirror._changed:
        assert study.mirror._changed.wait_for(lambda: not study.mirror._changes and not study.mirror._busy, timeout=20)
    assert len(study.storage.get_all_trials(study.study_id)) == 1


def test_attributes_of_a_pruner_are_copied(study: MirroredStudy) -> None:
    """A resumed study halves at the same rungs."""
    trial = study.ask()
    study.stored()
    study.memory._storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.5)
    study.mirror.touch(0)
    assert study.stored()[0].system_attrs == {"completed_rung_0": 0.5}


def test_pickles_of_a_sampler_stay_in_memory(study: MirroredStudy) -> None:
    trial = study.memory.ask({"x": FLOAT})
    study.memory._storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", "80049525")
    study.mirror.touch(0)
    assert study.stored()[0].system_attrs == {}
    assert study.memory.trials[0].system_attrs == {"cma:optimizer:0": "80049525"}
    assert portable({"cma:n": 1, "long": "x" * 3000, "rung": 0.5}) == {"rung": 0.5}


def test_close_writes_the_remaining_changes(study: MirroredStudy, url: str) -> None:
    for _ in range(5):
        study.memory.tell(study.ask(), 1.0)
    study.mirror.close()
    assert len(open_storage(url).get_all_trials(study.study_id)) == 5


def test_continues_an_existing_study(url: str) -> None:
    with quiet_optuna():
        first = MirroredStudy(url)
        proposed = first.ask()
        first.mirror.close()
        second = MirroredStudy(url)
        for trial in second.storage.get_all_trials(second.study_id):
            second.memory.add_trial(trial)
        second.memory.tell(proposed.number, 0.5)
        second.mirror.touch(proposed.number)
        second.ask()
        assert [trial.value for trial in second.stored()] == [0.5, None]
        second.mirror.close()


def test_another_writer_is_noticed(study: MirroredStudy) -> None:
    study.storage.create_new_trial(study.study_id)
    study.ask()
    with pytest.raises(
        StudyUnavailable, match=r"another process writes trials of this study \(trial 0 was stored as 1\)"
    ):
        study.mirror.flush()


def test_a_locked_storage_is_an_error_of_every_call(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_PATIENCE", 0.05)
    monkeypatch.setattr("optuna.storages._rdb.storage.time", SimpleNamespace(sleep=lambda seconds: None))  # it retries
    with quiet_optuna():
        study = MirroredStudy(url)
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    study.ask()
    for call in (study.mirror.flush, lambda: study.mirror.touch(0), study.mirror.flush):
        with pytest.raises(StudyUnavailable, match="another process has locked it"):
            call()
    study.mirror.close()  # the error was raised already
    other.close()


def test_an_error_that_no_call_raised_is_raised_by_close(url: str) -> None:
    with quiet_optuna():
        study = MirroredStudy(url)
        study.storage.create_new_trial(study.study_id)
        study.ask()
        with pytest.raises(StudyUnavailable, match="another process writes trials of this study"):
            study.mirror.close()
