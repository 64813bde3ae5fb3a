"""What is in memory comes into the storage, whole and in order, and what goes wrong there is said."""

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


class Both:
    """A study in memory and the storage that it is mirrored into."""

    def __init__(self, url: str) -> None:
        self.storage: BaseStorage = open_storage(url)
        kept = optuna.create_study(storage=self.storage, study_name="s", load_if_exists=True)
        self.study_id = kept._study_id
        self.memory = optuna.create_study()
        self.mirror = Mirror(url, self.storage, self.study_id, lambda number: self.memory.trials[number])

    def ask(self) -> optuna.trial.Trial:
        asked = self.memory.ask({"x": FLOAT})
        self.mirror.touch(asked.number)
        return asked

    def stored(self) -> list[optuna.trial.FrozenTrial]:
        self.mirror.flush()
        return self.storage.get_all_trials(self.study_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return file_url(tmp_path / "study.db")


@pytest.fixture
def both(url: str) -> Iterator[Both]:
    with quiet_optuna():
        made = Both(url)
        yield made
        if made.mirror._error is None:
            made.mirror.close()


def test_a_trial_comes_over_step_by_step(both: Both) -> None:
    asked = both.ask()
    assert [trial.params for trial in both.stored()] == [asked.params]
    asked.report(0.5, 1)
    asked.set_user_attr("worker", 0)
    both.mirror.touch(0)
    (stored,) = both.stored()
    assert (stored.intermediate_values, stored.user_attrs, stored.value) == ({1: 0.5}, {"worker": 0}, None)
    both.memory.tell(asked, 0.75)
    both.mirror.touch(0)
    (stored,) = both.stored()
    assert (stored.value, stored.state) == (0.75, optuna.trial.TrialState.COMPLETE)


def test_changes_that_come_together_come_over_together(both: Both) -> None:
    trials = [both.ask() for _ in range(20)]
    for trial in trials:
        trial.report(float(trial.number), 1)
        both.memory.tell(trial, float(trial.number))
        both.mirror.touch(trial.number)
    stored = both.stored()
    assert [trial.number for trial in stored] == list(range(20))
    assert [trial.value for trial in stored] == [float(number) for number in range(20)]
    assert [trial.params for trial in stored] == [trial.params for trial in both.memory.trials]


def test_a_trial_that_ends_within_a_moment_is_one_transaction(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch by itself would cost as much as a small head takes to train it."""
    calls = []
    for name in ("create_new_trial", "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_state_values"):
        monkeypatch.setattr(both.storage, name, _noted(getattr(both.storage, name), calls))
    asked = both.ask()
    for epoch in range(1, 6):
        asked.report(epoch / 10, epoch)
        both.mirror.touch(0)
    asked.set_user_attr("worker", 0)
    both.memory.tell(asked, 0.5)
    both.mirror.touch(0)
    (stored,) = both.stored()
    assert calls == ["create_new_trial"]
    assert (stored.value, len(stored.intermediate_values), stored.user_attrs) == (0.5, 5, {"worker": 0})


def _noted(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **settings: Any) -> Any:
        calls.append(method.__name__)
        return method(*args, **settings)

    return call


def test_nobody_has_to_ask_for_it(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_LAG", 0.05)
    both.ask()
    with both.mirror._changed:
        assert both.mirror._changed.wait_for(lambda: not both.mirror._dirty and not both.mirror._busy, timeout=20)
    assert len(both.storage.get_all_trials(both.study_id)) == 1


def test_what_a_pruner_notes_comes_over(both: Both) -> None:
    """A study that goes on halves among the same rungs."""
    asked = both.ask()
    both.stored()
    both.memory._storage.set_trial_system_attr(asked._trial_id, "completed_rung_0", 0.5)
    both.mirror.touch(0)
    assert both.stored()[0].system_attrs == {"completed_rung_0": 0.5}


def test_what_a_sampler_would_unpickle_stays_in_memory(both: Both) -> None:
    asked = both.memory.ask({"x": FLOAT})
    both.memory._storage.set_trial_system_attr(asked._trial_id, "cma:optimizer:0", "80049525")
    both.mirror.touch(0)
    assert both.stored()[0].system_attrs == {}
    assert both.memory.trials[0].system_attrs == {"cma:optimizer:0": "80049525"}
    assert portable({"cma:n": 1, "long": "x" * 3000, "rung": 0.5}) == {"rung": 0.5}


def test_closing_writes_what_is_left(both: Both, url: str) -> None:
    for _ in range(5):
        both.memory.tell(both.ask(), 1.0)
    both.mirror.close()
    assert len(open_storage(url).get_all_trials(both.study_id)) == 5


def test_goes_on_where_another_left_off(url: str) -> None:
    with quiet_optuna():
        first = Both(url)
        left = first.ask()
        first.mirror.close()
        second = Both(url)
        for trial in second.storage.get_all_trials(second.study_id):
            second.memory.add_trial(trial)
        second.memory.tell(left.number, 0.5)
        second.mirror.touch(left.number)
        second.ask()
        assert [trial.value for trial in second.stored()] == [0.5, None]
        second.mirror.close()


def test_another_who_writes_trials_is_noticed(both: Both) -> None:
    both.storage.create_new_trial(both.study_id)
    both.ask()
    with pytest.raises(StudyUnavailable, match=r"somebody else writes trials of .* \(number 1 came where 0 was due\)"):
        both.mirror.flush()


def test_a_storage_that_is_locked_is_said_each_time_and_nothing_hangs(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PATIENCE", 0.05)
    monkeypatch.setattr(
        "optuna.storages._rdb.storage.time", SimpleNamespace(sleep=lambda seconds: None)
    )  # it tries again
    with quiet_optuna():
        both = Both(url)
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    both.ask()
    for said in (both.mirror.flush, lambda: both.mirror.touch(0), both.mirror.flush):
        with pytest.raises(StudyUnavailable, match="somebody else has it locked"):
            said()
    both.mirror.close()  # it was said already
    other.close()


def test_what_nobody_was_told_is_said_at_the_end(url: str) -> None:
    with quiet_optuna():
        both = Both(url)
        both.storage.create_new_trial(both.study_id)
        both.ask()
        with pytest.raises(StudyUnavailable, match="somebody else writes trials of this study"):
            both.mirror.close()
