"""TrialTasks: from the trials of a study to tasks for its workers; the best trial is made into a model once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import ClearsightError
from clearsight.core.executor import Assignment
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.testing.searchers import propose
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.report import best_run
from clearsight.workflow.study.tasks import TrialTasks
from tests.workflow.run_folders import write_run
from tests.workflow.study_folders import (
    ACCURACY,
    BETTER,
    FAILED,
    GOOD,
    PARAMETERS,
    PRUNED,
    store_of,
    trial_result,
    write_study,
)

BASE = Recipe().replace(model="tiny", weights="none", freeze="backbone", auto_tune=False)


def trial_tasks(folder: Path, space: list[str], base: Recipe = BASE, **plan: Any) -> TrialTasks:
    values = {"data": "/data", "objectives": (Objective("accuracy", "maximize"),), "trials": 4, **plan}
    return TrialTasks(Study(path=folder, name="s", plan=StudyPlan(space=parse_space(space), **values), recipe=base))


def trial(number: int, **params: Any) -> Trial:
    return Trial(number=number, state=TrialState.RUNNING, params=params)


def test_a_trial_has_the_recipe_of_the_study_with_its_values(tmp_path: Path) -> None:
    tasks = trial_tasks(tmp_path, ["lr=log(1e-3,1)"])
    assert tasks.recipe(trial(0, lr=0.5)) == BASE.replace(lr=0.5)
    assert tasks.recipe(trial(0, head="512,256")).model.head == (512, 256)


def test_a_trial_may_name_weights_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = trial_tasks(tmp_path, ["weights=[none,a.safetensors]"])
    assert tasks.recipe(trial(0, weights="a.safetensors")).model.weights == str(tmp_path / "a.safetensors")
    assert tasks.recipe(trial(0, weights="none")).model.weights == "none"


def test_a_task_has_the_recipe_as_json_values(tmp_path: Path) -> None:
    prepared = trial_tasks(tmp_path, ["lr=log(1e-3,1)"]).prepare(trial(7, lr=0.5))
    assert (prepared.task.number, prepared.task.folder) == (7, str(tmp_path / "trials" / "0007"))
    assert Recipe.parse(prepared.task.recipe) == BASE.replace(lr=0.5)
    assert prepared.epochs == 30
    assignment = Assignment(key=1, tasks=(prepared.task,), data="/d", metrics=("loss",))
    assert Assignment.from_json(assignment.to_json()) == assignment


def test_equal_recipes_have_equal_digests(tmp_path: Path) -> None:
    tasks = trial_tasks(tmp_path, ["lr=log(1e-3,1)"])
    assert tasks.prepare(trial(0, lr=0.5)).digest == tasks.prepare(trial(1, lr=0.5)).digest
    assert tasks.prepare(trial(0, lr=0.5)).digest != tasks.prepare(trial(1, lr=0.25)).digest
    assert tasks.prepare(trial(0)).digest == tasks.prepare(trial(1, lr=BASE.optim.lr)).digest  # the default anyway


def test_values_that_make_no_recipe_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClearsightError, match="lr"):
        trial_tasks(tmp_path, ["lr=log(1e-3,1)"]).prepare(trial(0, lr=-1.0))


def test_heads_over_one_network_are_grouped_and_other_trials_are_alone(tmp_path: Path) -> None:
    tasks = trial_tasks(tmp_path, ["lr=log(1e-3,1)", "image_size=[16,32]", "freeze=[backbone,none]"])
    params: list[dict[str, Any]] = [
        {"image_size": 16, "freeze": "backbone", "lr": 0.1},
        {"image_size": 32, "freeze": "backbone", "lr": 0.1},
        {"image_size": 16, "freeze": "none", "lr": 0.1},
        {"image_size": 16, "freeze": "backbone", "lr": 0.2},
        {"image_size": 16, "freeze": "none", "lr": 0.2},
    ]
    prepared = [tasks.prepare(trial(number, **values)).task for number, values in enumerate(params)]
    assert [[task.number for task in group] for group in tasks.group(prepared)] == [[0, 3], [1], [2], [4]]


@pytest.mark.parametrize(
    ("space", "base", "batch"),
    [
        (["lr=log(1e-3,1)"], BASE, 10),
        (["lr=log(1e-3,1)"], BASE.replace(freeze="none"), 1),
        (["image_size=[16]"], BASE, 1),
    ],
)
def test_a_batch_of_proposals_has_the_size_of_a_stack(
    tmp_path: Path, space: list[str], base: Recipe, batch: int
) -> None:
    assert trial_tasks(tmp_path, space, base).batch == batch


def test_a_delivery_is_the_same_task_with_another_purpose(tmp_path: Path) -> None:
    tasks = trial_tasks(tmp_path, ["lr=log(1e-3,1)"])
    delivery = tasks.delivery(trial(3, lr=0.5), key=9)
    assert delivery == Assignment(
        key=9, tasks=(tasks.prepare(trial(3, lr=0.5)).task,), data="/data", metrics=("accuracy",), deliver=True
    )


@dataclass
class Runner:
    """In the place of a StudyRunner: keeps the assignments. failure: why each of them fails."""

    failure: str = ""
    assignments: list[Assignment] = field(default_factory=list)

    def run_assignment(self, assignment_of: Callable[[int], Assignment]) -> str:
        self.assignments.append(assignment_of(1))
        return self.failure


def deliver(study: Study, runner: Any) -> StopReason | None:
    return TrialTasks(study).deliver_best(read_trials(study), runner)


def test_the_best_trial_is_in_the_study_and_its_recipe_in_a_file(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [GOOD, BETTER, PRUNED]), Runner()
    assert deliver(study, runner) is None
    params = dict(read_trials(study)[1].params)
    run = study.path / "trials" / "0001" / "run"
    expected = {"trial": 1, "value": 0.9, "values": [0.9], "params": params, "run": str(run)}
    assert study.best == Study.open(study.path).best == expected
    assert Recipe.load(study.path / "best.yaml") == study.recipe.replace(**params)
    (assignment,) = runner.assignments
    assert (assignment.deliver, [task.number for task in assignment.tasks]) == (True, [1])


def test_an_existing_model_is_not_made_again(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [GOOD]), Runner()
    run = write_run(study.folder(0) / "run")
    assert deliver(study, runner) is None
    assert len(runner.assignments) == 1  # a run without a model is not enough
    (run.bundle / "bundle.json").write_text("{}")
    assert deliver(study, runner) is None
    assert len(runner.assignments) == 1


def test_the_best_run_is_found_where_the_study_has_been_moved(tmp_path: Path) -> None:
    study = write_study(tmp_path / "photos", [GOOD])
    write_run(study.folder(0) / "run")
    deliver(study, Runner())
    shutil.move(study.path, tmp_path / "moved")
    run = best_run(Study.open(tmp_path / "moved"))
    assert run is not None
    assert run.path == tmp_path / "moved" / "trials" / "0000" / "run"


def test_a_duplicate_has_the_model_of_its_original(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [PRUNED]), Runner()
    store = store_of(study)
    for same_as in (None, 1):
        store.finish(replace(BETTER, number=propose(store).number), same_as=same_as)
    store.close()
    assert deliver(study, runner) is None
    assert study.best["trial"] == 1
    assert runner.assignments[0].tasks[0].number == 1


def test_without_a_complete_trial_there_is_no_model(tmp_path: Path) -> None:
    study, runner = write_study(tmp_path / "photos", [PRUNED, FAILED]), Runner()
    study.best = {"trial": 7}
    assert deliver(study, runner) is None
    assert (study.best, runner.assignments) == ({}, [])
    assert not (study.path / "best.yaml").exists()
    assert best_run(study) is None


def test_a_failed_delivery_is_the_reason_of_the_study(tmp_path: Path) -> None:
    study = write_study(tmp_path / "photos", [GOOD])
    assert deliver(study, Runner(failure="the disk is full")) == StopReason(
        StopKind.FAILURE, "the model of trial 0 could not be made: the disk is full"
    )
    assert study.best["trial"] == 0
    assert best_run(study) is None


@pytest.mark.parametrize(("values", "best"), [([(0.7, 5.0), (0.9, 50.0)], 1), ([(0.9, 50.0), (0.9, 5.0)], 0)])
def test_the_first_objective_decides_and_of_equals_the_earlier_trial(
    tmp_path: Path, values: list[tuple[float, float]], best: int
) -> None:
    results = [trial_result(TrialState.COMPLETE, *pair) for pair in values]
    study = write_study(tmp_path / "photos", results, objectives=(ACCURACY, PARAMETERS))
    deliver(study, Runner())
    assert (study.best["trial"], tuple(study.best["values"])) == (best, values[best])
