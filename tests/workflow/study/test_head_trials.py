"""HeadTrials: heads that train together come to the same results as alone, and the best one becomes a run like any."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.events import RunStatus
from clearsight.core.executor import Assignment
from clearsight.core.run import Run
from clearsight.core.study import Study
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.evaluate import evaluate
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.study.job_runner import JobRunner
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.study.tasks import TrialTasks
from clearsight.workflow.train import resume, train
from clearsight.workflow.tune import tune
from tests.workflow.in_process import in_process, study_context, tune_here

SPACE = ["lr=log(1e-3,1e-1)", "epochs=int(3,6)", "batch_size=[16,32]", "optimizer=[sgd,adamw]"]
SETTINGS: dict[str, Any] = {
    "space": SPACE,
    "freeze": "backbone",
    "trials": 6,
    "epochs": None,
    "head": (16,),
    "limit": 400,
    "image_size": 16,
    "model": "tiny",
    "searcher": "random",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def settings(digits: Path, home: Path) -> dict[str, Any]:
    """Settings of every study here, with a network that was trained on digits: random features tell nothing apart."""
    pretraining = {
        "model": "tiny",
        "weights": "none",
        "epochs": 2,
        "limit": 400,
        "image_size": 16,
        "batch_size": 16,
        "lr": 1e-2,
    }
    launch = LaunchContext(paths=Paths(cache=home / "cache", weights=()))
    pretrained = train(digits, out=home / "pretrained", launch=launch, **pretraining)
    return {**SETTINGS, "weights": str(pretrained.bundle / "model.safetensors")}


@pytest.fixture(scope="module")
def study(digits: Path, home: Path, settings: dict[str, Any]) -> Study:
    return tune_here(digits, home / "study", **settings)


@pytest.fixture(scope="module")
def best(study: Study) -> Run:
    return Run.open(Path(study.best["run"]))


def result_of(study: Study, number: int) -> TrialResult:
    result = TrialFolder(study.folder(number)).result()
    assert result is not None
    return result


def cached_features(cache: Path) -> dict[str, int]:
    """The entries of a feature cache, with the time at which each was computed."""
    return {file.parent.name: file.stat().st_mtime_ns for file in (cache / "features").glob("*/features.bin")}


# --- training together ------------------------------------------------------------------------------------------------


def test_a_head_has_the_same_result_as_alone(study: Study, digits: Path, home: Path, tmp_path: Path) -> None:
    paths, tasks = Paths(cache=home / "cache", weights=()), TrialTasks(study)
    for trial in read_trials(study)[:3]:
        recipe = tasks.recipe(trial)
        alone = train(digits, out=tmp_path / str(trial.number), recipe=recipe, launch=LaunchContext(paths=paths))
        scores = result_of(study, trial.number).scores
        assert trial.values[0] == alone.scores["valid"]["accuracy"]
        assert scores["loss"] == pytest.approx(alone.scores["valid"]["loss"], abs=1e-3)
        assert scores["macro_f1"] == pytest.approx(alone.scores["valid"]["macro_f1"], abs=1e-9)
        assert (trial.best_epoch, trial.epochs) == (alone.best_epoch, trial.params["epochs"])


def test_a_head_of_equal_classes_is_continued_in_a_stack_as_alone(
    digits: Path, home: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    # No hidden layer, as in the run that the weights are from; a rate that hardly moves the head away from it.
    fields = {**settings, "head": (), "space": ["lr=[1e-6,2e-6]"], "epochs": 1, "trials": 2, "searcher": "grid"}
    stacked = tune_here(digits, tmp_path / "study", **{**fields, "launch": study_context(home)})
    recipe = TrialTasks(stacked).recipe(read_trials(stacked)[0])
    launch = LaunchContext(paths=Paths(cache=home / "cache", weights=()))
    alone = train(digits, out=tmp_path / "alone", recipe=recipe, launch=launch)
    scores = result_of(stacked, 0).scores
    assert scores["loss"] == pytest.approx(alone.scores["valid"]["loss"], abs=1e-4)
    assert scores["accuracy"] > 0.3, "chance is 0.1, which a new head has at this rate"


def test_heads_are_one_assignment_over_features_computed_once(
    digits: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    fields = {**settings, "trials": 3, "launch": study_context(tmp_path)}
    with in_process() as executors:
        tune(digits, out=tmp_path / "study", **fields)
    together, delivery = executors[0].assignments
    assert [task.number for task in together.tasks] == [0, 1, 2]
    assert (len(delivery.tasks), delivery.deliver) == (1, True)
    features = cached_features(tmp_path / "cache")
    assert len(features) == 2  # of the training and of the validation images
    later = tune_here(digits, tmp_path / "later", **{**fields, "trials": 2})
    assert cached_features(tmp_path / "cache") == features
    assert sum(trial.saved_seconds for trial in read_trials(later)) > 0


def test_the_size_of_a_stack_changes_no_result(
    study: Study, digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    fields = {**settings, "trials": 4, "stack": 1, "launch": study_context(home)}
    other = tune_here(digits, tmp_path / "study", **fields)
    for stacked, single in zip(read_trials(study)[:4], read_trials(other), strict=True):
        assert stacked.params == single.params
        assert stacked.values == single.values
        assert stacked.scores == pytest.approx(single.scores, abs=1e-4)


def test_only_the_best_head_keeps_its_weights(study: Study) -> None:
    for number in range(6):
        files = {path.name for path in study.folder(number).iterdir() if not path.name.startswith(".")}
        expected = {"trial.json", "outcome.json"}
        assert files == (expected | {"head.safetensors", "run"} if number == study.best["trial"] else expected)


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_the_best_head_becomes_a_run_with_every_step_and_epoch(study: Study, best: Run) -> None:
    trial = read_trials(study)[study.best["trial"]]
    images = sum(best.data["counts"]["train"].values())
    steps = -(-images // best.recipe.train.batch_size)  # of an epoch
    epochs = trial.params["epochs"]
    assert isinstance(epochs, int)
    losses = [line for line in best.metrics() if line["name"] == "loss" and line["mode"] == "train"]
    assert [line["step"] for line in losses] == list(range(1, epochs * steps + 1))
    assert [line["epoch"] for line in losses] == [epoch for epoch in range(1, epochs + 1) for _ in range(steps)]
    assert [epoch["epoch"] for epoch in best.epochs()] == list(range(1, epochs + 1))
    assert {epoch["epoch"]: epoch["valid"]["accuracy"] for epoch in best.epochs()} == trial.curve
    assert (best.status, best.best_epoch) == (RunStatus.COMPLETED, trial.best_epoch)


def test_the_run_has_the_scores_of_the_trial(study: Study, best: Run) -> None:
    assert best.scores["valid"] == dict(result_of(study, study.best["trial"]).scores)
    assert best.scores["valid"]["accuracy"] == study.best["value"]
    assert best.recipe.optim.lr == study.best["params"]["lr"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_model_has_the_scores_of_the_run(best: Run, digits: Path, home: Path, split: str) -> None:
    paths = Paths(cache=home / "cache", weights=())
    measured = evaluate(best.path, digits, split=split, paths=paths, limit=best.recipe.data.limit)
    assert Bundle.open(best.bundle).scores == best.scores
    assert len(measured.labels) == sum(best.data["counts"][split].values())
    assert measured.scores()["accuracy"] == best.scores[split]["accuracy"]
    assert measured.scores()["loss"] == pytest.approx(best.scores[split]["loss"], abs=1e-4)


def test_a_resumed_run_trains_nothing_more(best: Run, home: Path, tmp_path: Path) -> None:
    shutil.copytree(best.path, tmp_path / "run")
    resumed = resume(tmp_path / "run", launch=LaunchContext(paths=Paths(cache=home / "cache", weights=())))
    assert resumed.metrics() == best.metrics()
    assert resumed.scores == best.scores


# --- single assignments -----------------------------------------------------------------------------------------------


class Reporter:
    """A reporter that interrupts all heads after so many epochs in all, or stops one head after its first epoch."""

    def __init__(self, *, interrupt_after: int = 10**9, stop: int = -1) -> None:
        self._epochs, self._interrupt_after, self._stop = 0, interrupt_after, stop

    def report_epoch(self, number: int, epoch: int, scores: Any) -> str:
        self._epochs += 1
        return "worse than the others" if number == self._stop else ""

    def interruption(self) -> str:
        return "the study was interrupted" if self._epochs >= self._interrupt_after else ""


def assignment(
    study: Study, folder: Path, numbers: Sequence[int], changes: dict[str, Any] | None = None, **fields: Any
) -> Assignment:
    """Trials of the study in another folder. changes: of their recipes."""
    prepared = [TrialTasks(study).prepare(trial).task for trial in read_trials(study) if trial.number in numbers]
    tasks = tuple(
        replace(task, folder=str(folder / f"{task.number:04d}"), recipe={**task.recipe, **(changes or {})})
        for task in prepared
    )
    return Assignment(key=1, tasks=tasks, data=study.plan.data, metrics=("accuracy", "parameters"), **fields)


@pytest.fixture
def runner(home: Path) -> JobRunner:
    return JobRunner(WorkerResources(paths=Paths(cache=home / "cache", weights=()), threads=2))


def test_a_pruned_head_stops_alone(study: Study, runner: JobRunner, tmp_path: Path) -> None:
    results = {result.number: result for result in runner.run(assignment(study, tmp_path, (0, 1)), Reporter(stop=1))}
    assert (results[0].state, results[1].state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert (results[1].reason, results[1].values, list(results[1].curve)) == ("worse than the others", (), [1])
    assert results[0].values[0] == result_of(study, 0).values[0]
    assert results[0].values[1] > 100  # parameters of backbone and head
    for number in (0, 1):
        folder = TrialFolder(tmp_path / f"{number:04d}")
        assert folder.result() is not None
        assert folder.head.is_file()


def test_interrupted_heads_have_no_result_and_start_again(study: Study, runner: JobRunner, tmp_path: Path) -> None:
    assert runner.run(assignment(study, tmp_path, (0, 1)), Reporter(interrupt_after=2)) == []
    assert TrialFolder(tmp_path / "0000").result() is None
    results = runner.run(assignment(study, tmp_path, (0, 1)), Reporter())
    assert [result.values[0] for result in results] == [result_of(study, number).values[0] for number in (0, 1)]


def test_a_half_written_run_is_written_again(study: Study, runner: JobRunner, best: Run, tmp_path: Path) -> None:
    """A worker may be killed between run.json and the checkpoint of a delivery."""
    number = study.best["trial"]
    shutil.copytree(study.folder(number), tmp_path / f"{number:04d}")
    run = tmp_path / f"{number:04d}" / "run"
    for file in [*run.rglob("*.safetensors"), run / "model" / "bundle.json"]:
        file.unlink()
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:500])
    assert runner.run(assignment(study, tmp_path, (number,), deliver=True), Reporter()) == []
    assert Run.open(run).metrics() == best.metrics()
    assert Run.open(run).scores == best.scores


def test_a_head_that_cannot_be_stacked_trains_as_a_run(study: Study, runner: JobRunner, tmp_path: Path) -> None:
    (result,) = runner.run(assignment(study, tmp_path, (0,), {"clip_grad": 1.0, "epochs": 1}), Reporter())
    assert result.state is TrialState.COMPLETE
    folder = TrialFolder(tmp_path / "0000")
    assert (folder.run / "metrics.jsonl").is_file()
    assert not folder.head.exists()


def test_heads_of_other_seeds_have_their_own_order_and_split(study: Study, runner: JobRunner, tmp_path: Path) -> None:
    job = assignment(study, tmp_path, (0, 1), {"epochs": 2})
    recipe = job.tasks[0].recipe
    tasks = tuple(replace(task, recipe={**recipe, "seed": task.number}) for task in job.tasks)
    first, second = runner.run(replace(job, tasks=tasks), Reporter())
    assert first.scores != second.scores
    runner.run(replace(job, tasks=tasks[1:], deliver=True), Reporter())
    run = Run.open(tmp_path / "0001" / "run")
    assert (run.seed, run.scores["valid"]) == (1, dict(second.scores))
