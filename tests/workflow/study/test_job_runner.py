"""A bench carries out what it is assigned: alone, together or delivered; and keeps each outcome before it tells it."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.job_runner import JobRunner
from clearsight.workflow.study.reporter import WorkerResources
from tests.workflow.here import TINY

RECIPE = Recipe().replace(**{**TINY, "epochs": 1, "limit": 60})


class Silence:
    """A talk that lets everything go on."""

    def epoch(self, number: int, epoch: int, scores: Any) -> str:
        return ""

    def interrupted(self) -> str:
        return ""


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> WorkerResources:
    return WorkerResources(places=Paths(cache=tmp_path_factory.mktemp("home") / "cache", weights=()), threads=1)


@pytest.fixture
def carried_out(digits: Path, tmp_path: Path, post: WorkerResources) -> Any:
    def act(*changes: dict[str, Any], data: Path = digits, deliver: bool = False) -> list[TrialResult]:
        return JobRunner.at(post.to_json()).carry_out(assignment(tmp_path, data, changes, deliver=deliver), Silence())

    return act


def assignment(folder: Path, data: Path, changes: Sequence[dict[str, Any]], *, deliver: bool = False) -> Assignment:
    tasks = []
    for number, change in enumerate(changes):
        kept = RECIPE.replace(**change).model_dump(mode="json")
        flat = {name: value for section in kept.values() for name, value in section.items()}
        tasks.append(TrialTask(number=number, folder=str(folder / f"{number:04d}"), recipe=flat))
    return Assignment(key=1, tasks=tuple(tasks), data=str(data), metrics=("accuracy",), deliver=deliver)


def test_an_outcome_is_on_disk_before_anybody_hears_of_it(carried_out: Any, tmp_path: Path) -> None:
    outcomes = carried_out({"lr": 0.1}, {"lr": 0.01})
    assert [outcome.number for outcome in outcomes] == [0, 1]
    for outcome in outcomes:
        kept = TrialFolder(tmp_path / f"{outcome.number:04d}").outcome()
        assert kept is not None
        assert (kept.state, kept.values) == (TrialState.COMPLETE, outcome.values)


def test_a_mistake_is_the_outcome_of_its_trial_alone(carried_out: Any) -> None:
    bad, good = carried_out({"freeze": "layer9"}, {})
    assert (bad.state, good.state) == (TrialState.FAILED, TrialState.COMPLETE)
    assert bad.reason.startswith("--freeze layer9: ")
    assert "\n" not in bad.reason


def test_a_fault_of_ours_is_an_outcome_too_and_in_the_log(
    carried_out: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\n  lines")

    monkeypatch.setattr("clearsight.workflow.study.job_runner.carry_out_run", broken)
    (outcome,) = carried_out({})
    assert (outcome.state, outcome.reason) == (TrialState.FAILED, "RuntimeError: two lines")
    assert "a trial failed" in caplog.text


def test_a_mistake_of_all_heads_is_the_outcome_of_each(carried_out: Any, tmp_path: Path) -> None:
    heads = {"freeze": "backbone"}
    outcomes = carried_out({**heads, "lr": 0.1}, {**heads, "lr": 0.01}, data=tmp_path / "nowhere")
    assert [outcome.state for outcome in outcomes] == [TrialState.FAILED] * 2
    assert all("nowhere" in outcome.reason for outcome in outcomes)


def test_a_worker_fills_in_what_was_left_open_and_nothing_else(carried_out: Any, tmp_path: Path) -> None:
    carried_out({}, {"threads": 2, "workers": 0, "device": "cpu"})
    open_, said = (Run.open(tmp_path / name / "run").recipe for name in ("0000", "0001"))
    assert (open_.train.threads, open_.data.workers) == (1, 1)
    assert (said.train.threads, said.data.workers, said.train.device) == (2, 0, "cpu")


def test_the_same_model_is_delivered_from_whatever_is_left_of_a_trial(carried_out: Any, tmp_path: Path) -> None:
    """Its run, or its recipe alone, where its weights went with a better trial that is gone too."""
    (outcome,) = carried_out({})
    run = tmp_path / "0000" / "run"
    assert carried_out({}, deliver=True) == []
    first = Run.open(run)
    assert first.has_bundle
    assert first.scores["valid"] == dict(outcome.scores)
    assert first.scores["test"]
    TrialFolder(tmp_path / "0000").drop_weights()
    (run / "model" / "bundle.json").unlink()
    assert carried_out({}, deliver=True) == []
    assert Run.open(run).scores == first.scores
    TrialFolder(tmp_path / "0000").clear()
    assert carried_out({}, deliver=True) == []
    assert Run.open(run).scores == first.scores


def test_a_model_that_cannot_be_made_says_why(carried_out: Any) -> None:
    (outcome,) = carried_out({"freeze": "layer9"}, deliver=True)
    assert outcome.state is TrialState.FAILED
    assert "layer9" in outcome.reason


def test_two_workers_never_have_one_trial(
    digits: Path, tmp_path: Path, post: WorkerResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a study that was killed may take a moment to end; until then the next one waits."""
    asked, begun = threading.Event(), threading.Event()
    flock = fcntl.flock

    def watched(file: Any, how: int) -> None:
        asked.set()
        flock(file, how)

    monkeypatch.setattr("clearsight.workflow.study.job_runner.fcntl.flock", watched)
    monkeypatch.setattr("clearsight.workflow.study.job_runner.carry_out_run", lambda *_: begun.set())
    (tmp_path / "0000").mkdir()
    with (tmp_path / "0000" / ".lock").open("w") as other:
        flock(other, fcntl.LOCK_EX)
        work = assignment(tmp_path, digits, [{}])
        waiting = threading.Thread(target=JobRunner(post).carry_out, args=(work, Silence()))
        waiting.start()
        assert asked.wait(30)
        assert not begun.is_set()
    waiting.join(30)
    assert begun.is_set()
