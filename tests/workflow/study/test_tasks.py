"""From the points of a study to what its workers are given."""

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


def tasks(folder: Path, words: list[str], base: Recipe = BASE, **plan: Any) -> TrialTasks:
    told = {"data": "/data", "objectives": (Objective("accuracy", "maximize"),), "trials": 4, **plan}
    return TrialTasks(Study(path=folder, name="s", plan=StudyPlan(space=parse_space(words), **told), recipe=base))


def trial(number: int, **params: Any) -> Trial:
    return Trial(number=number, state=TrialState.RUNNING, params=params)


def test_a_trial_has_the_recipe_with_its_point_over_it(tmp_path: Path) -> None:
    made = tasks(tmp_path, ["lr=log(1e-3,1)"])
    assert made.recipe(trial(0, lr=0.5)) == BASE.replace(lr=0.5)
    assert made.recipe(trial(0, head="512,256")).model.head == (512, 256)


def test_a_point_may_name_weights_by_a_path_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = tasks(tmp_path, ["weights=[none,a.safetensors]"])
    assert made.recipe(trial(0, weights="a.safetensors")).model.weights == str(tmp_path / "a.safetensors")
    assert made.recipe(trial(0, weights="none")).model.weights == "none"


def test_a_task_is_plain_values_that_give_the_recipe_again(tmp_path: Path) -> None:
    made = tasks(tmp_path, ["lr=log(1e-3,1)"]).make(trial(7, lr=0.5))
    assert (made.task.number, made.task.folder) == (7, str(tmp_path / "trials" / "0007"))
    assert Recipe.parse(made.task.recipe) == BASE.replace(lr=0.5)
    assert made.epochs == 30
    task = Assignment(key=1, tasks=(made.task,), data="/d", metrics=("loss",))
    assert Assignment.from_json(task.to_json()) == task


def test_the_same_work_has_the_same_digest_whoever_asks(tmp_path: Path) -> None:
    made = tasks(tmp_path, ["lr=log(1e-3,1)"])
    assert made.make(trial(0, lr=0.5)).digest == made.make(trial(1, lr=0.5)).digest
    assert made.make(trial(0, lr=0.5)).digest != made.make(trial(1, lr=0.25)).digest
    assert made.make(trial(0)).digest == made.make(trial(1, lr=BASE.optim.lr)).digest  # what is the default anyway


def test_a_point_that_makes_no_recipe_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClearsightError, match="lr"):
        tasks(tmp_path, ["lr=log(1e-3,1)"]).make(trial(0, lr=-1.0))


def test_heads_over_one_network_are_given_out_together_and_others_alone(tmp_path: Path) -> None:
    made = tasks(tmp_path, ["lr=log(1e-3,1)", "image_size=[16,32]", "freeze=[backbone,none]"])
    points: list[dict[str, Any]] = [
        {"image_size": 16, "freeze": "backbone", "lr": 0.1},
        {"image_size": 32, "freeze": "backbone", "lr": 0.1},
        {"image_size": 16, "freeze": "none", "lr": 0.1},
        {"image_size": 16, "freeze": "backbone", "lr": 0.2},
        {"image_size": 16, "freeze": "none", "lr": 0.2},
    ]
    given = [made.make(trial(number, **point)).task for number, point in enumerate(points)]
    assert [[task.number for task in group] for group in made.together(given)] == [[0, 3], [1], [2], [4]]


@pytest.mark.parametrize(
    ("words", "base", "ahead"),
    [
        (["lr=log(1e-3,1)"], BASE, 10),
        (["lr=log(1e-3,1)"], BASE.replace(freeze="none"), 1),
        (["image_size=[16]"], BASE, 1),
    ],
)
def test_as_many_are_proposed_ahead_as_train_at_once(
    tmp_path: Path, words: list[str], base: Recipe, ahead: int
) -> None:
    made = tasks(tmp_path, words, base)
    unasked: Any = None  # a ledger and an executor
    conductor = made.conductor(unasked, unasked, (), lambda: "")
    assert conductor.ahead == ahead


def test_a_delivery_is_the_same_task_with_another_purpose(tmp_path: Path) -> None:
    made = tasks(tmp_path, ["lr=log(1e-3,1)"])
    delivery = made.delivery(trial(3, lr=0.5), key=9)
    assert delivery == Assignment(
        key=9, tasks=(made.make(trial(3, lr=0.5)).task,), data="/data", metrics=("accuracy",), deliver=True
    )
