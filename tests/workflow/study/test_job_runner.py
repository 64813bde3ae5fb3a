"""JobRunner: trains trials alone or together, or delivers them; each result is on disk before it is returned."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.job_runner import JobRunner
from clearsight.workflow.study.reporter import WorkerResources
from tests.workflow.in_process import TINY

RECIPE = Recipe().replace(**{**TINY, "epochs": 1, "limit": 60})

RunTrials = Callable[..., list[TrialResult]]


class SilentReporter:
    """A reporter that lets every trial continue."""

    def report_epoch(self, number: int, epoch: int, scores: Any) -> str:
        return ""

    def interruption(self) -> str:
        return ""


@pytest.fixture(scope="module")
def resources(tmp_path_factory: pytest.TempPathFactory) -> WorkerResources:
    return WorkerResources(paths=Paths(cache=tmp_path_factory.mktemp("home") / "cache", weights=()), threads=1)


@pytest.fixture
def run_trials(digits: Path, tmp_path: Path, resources: WorkerResources) -> RunTrials:
    """Runs one assignment with a trial for each change of the recipe."""

    def run(*changes: dict[str, Any], data: Path = digits, deliver: bool = False) -> list[TrialResult]:
        runner = JobRunner.from_json(resources.to_json())
        return runner.run(assignment(tmp_path, data, changes, deliver=deliver), SilentReporter())

    return run


def assignment(folder: Path, data: Path, changes: Sequence[dict[str, Any]], *, deliver: bool = False) -> Assignment:
    tasks = []
    for number, change in enumerate(changes):
        sections = RECIPE.replace(**change).model_dump(mode="json")
        flat = {name: value for section in sections.values() for name, value in section.items()}
        tasks.append(TrialTask(number=number, folder=str(folder / f"{number:04d}"), recipe=flat))
    return Assignment(key=1, tasks=tuple(tasks), data=str(data), metrics=("accuracy",), deliver=deliver)


def test_results_are_on_disk_when_they_are_returned(run_trials: RunTrials, tmp_path: Path) -> None:
    results = run_trials({"lr": 0.1}, {"lr": 0.01})
    assert [result.number for result in results] == [0, 1]
    for result in results:
        written = TrialFolder(tmp_path / f"{result.number:04d}").result()
        assert written is not None
        assert (written.state, written.values) == (TrialState.COMPLETE, result.values)


def test_a_mistake_fails_its_trial_alone(run_trials: RunTrials) -> None:
    bad, good = run_trials({"freeze": "layer9"}, {})
    assert (bad.state, good.state) == (TrialState.FAILED, TrialState.COMPLETE)
    assert bad.reason.startswith("--freeze layer9: ")
    assert bad.stop_kind is StopKind.MISTAKE
    assert "\n" not in bad.reason


def test_a_defect_fails_its_trial_and_is_logged(
    run_trials: RunTrials, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\n  lines")

    monkeypatch.setattr("clearsight.workflow.study.job_runner.run_trial", broken)
    (result,) = run_trials({})
    assert (result.state, result.reason) == (TrialState.FAILED, "RuntimeError: two lines")
    assert result.stop_kind is StopKind.FAILURE
    assert "a trial failed" in caplog.text


def test_a_common_mistake_fails_every_head(run_trials: RunTrials, tmp_path: Path) -> None:
    heads = {"freeze": "backbone"}
    results = run_trials({**heads, "lr": 0.1}, {**heads, "lr": 0.01}, data=tmp_path / "nowhere")
    assert [result.state for result in results] == [TrialState.FAILED] * 2
    assert all("nowhere" in result.reason for result in results)


def test_a_worker_sets_threads_and_device_only_where_they_are_unset(run_trials: RunTrials, tmp_path: Path) -> None:
    run_trials({}, {"threads": 2, "workers": 0, "device": "cpu"})
    unset, given = (Run.open(tmp_path / name / "run").recipe for name in ("0000", "0001"))
    assert (unset.train.threads, unset.data.workers) == (1, 1)
    assert (given.train.threads, given.data.workers, given.train.device) == (2, 0, "cpu")


def test_the_same_model_is_delivered_from_run_checkpoint_or_recipe(run_trials: RunTrials, tmp_path: Path) -> None:
    """From the recipe alone if the weights were deleted for a better trial that is gone too."""
    (result,) = run_trials({})
    folder = TrialFolder(tmp_path / "0000")
    assert run_trials({}, deliver=True) == []
    first = Run.open(folder.run)
    assert first.has_bundle
    assert first.scores["valid"] == dict(result.scores)
    assert first.scores["test"]
    folder.delete_weights()
    (folder.run / "model" / "bundle.json").unlink()
    assert run_trials({}, deliver=True) == []
    assert Run.open(folder.run).scores == first.scores
    folder.clear()
    assert run_trials({}, deliver=True) == []
    assert Run.open(folder.run).scores == first.scores


def test_a_failed_delivery_has_a_reason(run_trials: RunTrials) -> None:
    (result,) = run_trials({"freeze": "layer9"}, deliver=True)
    assert result.state is TrialState.FAILED
    assert "layer9" in result.reason


def test_two_workers_never_run_the_same_trial(
    digits: Path, tmp_path: Path, resources: WorkerResources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a killed study may need a moment to exit; the next one waits until then."""
    waits, started = threading.Event(), threading.Event()
    flock = fcntl.flock

    def watched_flock(file: Any, operation: int) -> None:
        waits.set()
        flock(file, operation)

    monkeypatch.setattr("clearsight.workflow.study.job_runner.fcntl.flock", watched_flock)
    monkeypatch.setattr("clearsight.workflow.study.job_runner.run_trial", lambda *_: started.set())
    (tmp_path / "0000").mkdir()
    with (tmp_path / "0000" / ".lock").open("w") as lock:
        flock(lock, fcntl.LOCK_EX)
        job = assignment(tmp_path, digits, [{}])
        second = threading.Thread(target=JobRunner(resources).run, args=(job, SilentReporter()))
        second.start()
        assert waits.wait(30)
        assert not started.is_set()
    second.join(30)
    assert started.is_set()
