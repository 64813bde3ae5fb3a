"""Heads that train together come to what each of them comes to alone, and the best of them becomes a run like any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.events import RunStatus
from clearsight.core.executor import Assignment
from clearsight.core.run import Run
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.evaluate import evaluate
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.study.job_runner import JobRunner
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.study.tasks import TrialTasks
from clearsight.workflow.train import fit
from clearsight.workflow.tune import resume_study, tune
from tests.workflow.here import Here, around, tuned, working_here

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
    """What every study says here, over a network that has seen digits: features of a random one tell nothing."""
    how = {
        "model": "tiny",
        "weights": "none",
        "epochs": 2,
        "limit": 400,
        "image_size": 16,
        "batch_size": 16,
        "lr": 1e-2,
    }
    around = LaunchContext(places=Paths(cache=home / "cache", weights=()))
    seen = fit(digits, out=home / "seen", around=around, **how)
    return {**SETTINGS, "weights": str(seen.bundle / "model.safetensors")}


@pytest.fixture(scope="module")
def study(digits: Path, home: Path, settings: dict[str, Any]) -> Study:
    return tuned(digits, home / "study", **settings)


@pytest.fixture(scope="module")
def best(study: Study) -> Run:
    return Run.open(Path(study.best["run"]))


def outcome(study: Study, number: int) -> TrialResult:
    found = TrialFolder(study.folder(number)).outcome()
    assert found is not None
    return found


def entries(cache: Path) -> dict[str, int]:
    """The features in a cache and when each was computed."""
    return {one.parent.name: one.stat().st_mtime_ns for one in (cache / "features").glob("*/features.bin")}


# --- among others -----------------------------------------------------------------------------------------------------


def test_each_head_comes_to_what_it_comes_to_alone(
    study: Study, digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    places, tasks = Paths(cache=home / "cache", weights=()), TrialTasks(study)
    for trial in read_trials(study)[:3]:
        recipe = tasks.recipe(trial)
        alone = fit(digits, out=tmp_path / str(trial.number), recipe=recipe, around=LaunchContext(places=places))
        scores = outcome(study, trial.number).scores
        assert trial.values[0] == alone.scores["valid"]["accuracy"]
        assert scores["loss"] == pytest.approx(alone.scores["valid"]["loss"], abs=1e-3)
        assert scores["macro_f1"] == pytest.approx(alone.scores["valid"]["macro_f1"], abs=1e-9)
        assert (trial.best_epoch, trial.epochs) == (alone.best_epoch, trial.params["epochs"])


def test_they_were_one_assignment_over_features_computed_once(
    digits: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    with working_here() as made:
        tune(digits, out=tmp_path / "study", around=around(tmp_path), **settings)
    together, delivery = made[0].given
    assert [task.number for task in together.tasks] == list(range(6))
    assert (len(delivery.tasks), delivery.deliver) == (1, True)
    before = entries(tmp_path / "cache")
    assert len(before) == 2  # of training and of validation images
    again = tuned(digits, tmp_path / "again", **{**settings, "seed": 0, "trials": 2})
    assert entries(tmp_path / "cache") == before
    assert sum(trial.spared_seconds for trial in read_trials(again)) > 0


def test_no_more_are_trained_at_once_than_a_stack_holds(
    digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    with working_here() as made:
        told = {**settings, "trials": 5, "stack": 2, "around": around(home)}
        tune(digits, out=tmp_path / "study", **told)
    assert [len(one.tasks) for one in made[0].given if not one.deliver] == [2, 2, 1]


def test_how_many_stand_together_changes_nothing(
    study: Study, digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    other = tuned(digits, tmp_path / "study", **{**settings, "trials": 4, "stack": 1, "around": around(home)})
    for one, two in zip(read_trials(study)[:4], read_trials(other), strict=True):
        assert one.params == two.params
        assert one.values == two.values
        assert one.scores == pytest.approx(two.scores, abs=1e-4)


def test_only_the_best_keeps_its_weights(study: Study) -> None:
    for number in range(6):
        own = {one.name for one in study.folder(number).iterdir() if not one.name.startswith(".")}
        wanted = {"trial.json", "outcome.json"}
        assert own == (wanted | {"head.safetensors", "run"} if number == study.best["trial"] else wanted)


# --- delivered --------------------------------------------------------------------------------------------------------


def test_the_best_becomes_a_run_with_every_step_and_epoch(study: Study, best: Run) -> None:
    trial = read_trials(study)[study.best["trial"]]
    images = sum(best.data["counts"]["train"].values())
    per_epoch = -(-images // best.recipe.train.batch_size)
    epochs = trial.params["epochs"]
    assert isinstance(epochs, int)
    losses = [line for line in best.metrics() if line["name"] == "loss" and line["mode"] == "train"]
    assert [line["step"] for line in losses] == list(range(1, epochs * per_epoch + 1))
    assert [line["epoch"] for line in losses] == [e for e in range(1, epochs + 1) for _ in range(per_epoch)]
    assert [epoch["epoch"] for epoch in best.epochs()] == list(range(1, epochs + 1))
    assert {epoch["epoch"]: epoch["valid"]["accuracy"] for epoch in best.epochs()} == trial.curve
    assert (best.status, best.best_epoch) == (RunStatus.COMPLETED, trial.best_epoch)


def test_its_scores_are_those_of_the_trial(study: Study, best: Run) -> None:
    assert best.scores["valid"] == dict(outcome(study, study.best["trial"]).scores)
    assert best.scores["valid"]["accuracy"] == study.best["value"]
    assert best.recipe.optim.lr == study.best["params"]["lr"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_its_model_measures_what_is_said_of_it(study: Study, best: Run, digits: Path, home: Path, split: str) -> None:
    around = Paths(cache=home / "cache", weights=())
    measured = evaluate(best.path, digits, split=split, places=around, limit=best.recipe.data.limit)
    assert Bundle.open(best.bundle).scores == best.scores
    assert len(measured.labels) == sum(best.data["counts"][split].values())
    assert measured.scores()["accuracy"] == best.scores[split]["accuracy"]
    assert measured.scores()["loss"] == pytest.approx(best.scores[split]["loss"], abs=1e-4)


def test_going_on_with_that_run_trains_nothing_more(best: Run, home: Path, tmp_path: Path) -> None:
    from clearsight.workflow.train import resume

    shutil.copytree(best.path, tmp_path / "run")
    steps = best.metrics()
    again = resume(tmp_path / "run", around=LaunchContext(places=Paths(cache=home / "cache", weights=())))
    assert again.metrics() == steps
    assert again.scores == best.scores


# --- what comes in between --------------------------------------------------------------------------------------------


class Speaking:
    """A talk that interrupts after so many epochs of all heads together, or stops one head after an epoch."""

    def __init__(self, after: int = 10**9, stop: int = -1) -> None:
        self.told: list[tuple[int, int]] = []
        self._after, self._stop = after, stop

    def epoch(self, number: int, epoch: int, scores: Any) -> str:
        self.told.append((number, epoch))
        return "it is behind" if number == self._stop else ""

    def interrupted(self) -> str:
        return "the study was interrupted" if len(self.told) >= self._after else ""


def assignment(study: Study, folder: Path, numbers: Sequence[int], **facts: Any) -> Assignment:
    tasks = TrialTasks(study)
    chosen = [tasks.make(trial).task for trial in read_trials(study) if trial.number in numbers]
    moved = [
        type(task)(number=task.number, folder=str(folder / f"{task.number:04d}"), recipe=task.recipe) for task in chosen
    ]
    return Assignment(key=1, tasks=tuple(moved), data=study.plan.data, metrics=("accuracy", "parameters"), **facts)


@pytest.fixture
def bench(home: Path) -> JobRunner:
    return JobRunner(WorkerResources(places=Paths(cache=home / "cache", weights=()), threads=2))


def test_a_head_that_is_told_to_stop_stops_alone(study: Study, bench: JobRunner, tmp_path: Path) -> None:
    outcomes = bench.carry_out(assignment(study, tmp_path, (0, 1)), Speaking(stop=1))
    found = {one.number: one for one in outcomes}
    assert (found[0].state, found[1].state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert (found[1].reason, found[1].values, list(found[1].curve)) == ("it is behind", (), [1])
    assert found[0].values[0] == outcome(study, 0).values[0]
    assert found[0].values[1] > 100  # parameters of backbone and head
    for number in (0, 1):
        assert TrialFolder(tmp_path / f"{number:04d}").outcome() is not None
        assert (tmp_path / f"{number:04d}" / "head.safetensors").is_file()


def test_heads_that_are_interrupted_have_no_outcome_and_begin_anew(
    study: Study, bench: JobRunner, tmp_path: Path
) -> None:
    assert bench.carry_out(assignment(study, tmp_path, (0, 1)), Speaking(after=2)) == []
    assert TrialFolder(tmp_path / "0000").outcome() is None
    again = bench.carry_out(assignment(study, tmp_path, (0, 1)), Speaking())
    assert [one.values[0] for one in again] == [outcome(study, number).values[0] for number in (0, 1)]


def test_a_run_that_was_half_written_is_written_again(
    study: Study, bench: JobRunner, best: Run, tmp_path: Path
) -> None:
    """Whoever made the model of the best head may be killed between run.json and the checkpoint."""
    number = study.best["trial"]
    shutil.copytree(study.folder(number), tmp_path / f"{number:04d}")
    run = tmp_path / f"{number:04d}" / "run"
    for file in [*run.rglob("*.safetensors"), run / "model" / "bundle.json"]:
        file.unlink()
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text()[:500])
    assert bench.carry_out(assignment(study, tmp_path, (number,), deliver=True), Speaking()) == []
    assert Run.open(run).metrics() == best.metrics()
    assert Run.open(run).scores == best.scores


def test_a_head_that_is_no_stack_of_layers_trains_alone(
    digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    """Half precision, say, is known only where the network stands: then the trial is a run like any other."""
    told = {**settings, "trials": 1, "clip_grad": 1.0, "space": ["lr=[0.01]"], "epochs": 1, "around": around(home)}
    study = tuned(digits, tmp_path / "study", **told)
    assert study.status is StudyStatus.COMPLETED
    assert (study.folder(0) / "run" / "metrics.jsonl").is_file()
    assert not (study.folder(0) / "head.safetensors").exists()


def test_with_other_seeds_each_has_its_own_order_and_split(
    digits: Path, settings: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    told = {**settings, "trials": 2, "searcher": "grid", "space": ["seed=[0,1]"], "epochs": 2, "around": around(home)}
    study = tuned(digits, tmp_path / "study", **told)
    zero, one = (outcome(study, number) for number in range(2))
    assert zero.scores != one.scores
    assert Run.open(Path(study.best["run"])).seed == study.best["params"]["seed"]


def test_further_trials_stand_beside_those_that_are_there(study: Study, home: Path) -> None:
    copy = home / "longer"
    shutil.copytree(study.path, copy)
    before = json.loads((copy / "study.json").read_text())["best"]
    with working_here() as made:
        longer = resume_study(copy, trials=8, around=around(home))
    assert isinstance(made[0], Here)
    assert [task.number for one in made[0].given if not one.deliver for task in one.tasks] == [6, 7]
    assert longer.best["value"] >= before["value"]
    assert Path(longer.best["run"]).parent.parent.parent == copy
