"""TrialTasks: from the trials of a study to tasks for its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import ClearsightError
from clearsight.core.executor import Assignment
from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.study.tasks import TrialTasks

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
