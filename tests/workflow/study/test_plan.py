"""What a study is asked to do is judged before anything is begun, and every mistake is one sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, ClearsightError
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.workflow.study.plan import (
    check_plan,
    free_folder,
    most_epochs,
    objectives_of,
    pruner_of,
    searcher_of,
    space_of,
    stacks,
)

BASE = Recipe().replace(model="tiny", weights="none")
HEADS = BASE.replace(freeze="backbone")
LR = FloatRange(low=1e-5, high=1e-1, log=True)
ACCURACY, LOSS = Objective("accuracy", "maximize"), Objective("loss", "minimize")


def plan(**facts: Any) -> StudyPlan:
    usual: dict[str, Any] = {"data": "/d", "space": space_of(["lr"], None, BASE), "objectives": (ACCURACY,)}
    return StudyPlan(**{**usual, "trials": 10, **facts})


def complaint(**facts: Any) -> str:
    with pytest.raises(ClearsightError) as caught:
        check_plan(plan(**facts))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# --- spaces -----------------------------------------------------------------------------------------------------------


def test_without_a_word_the_usual_three_are_varied() -> None:
    for said in (None, [], ()):
        assert space_of([], said, BASE).names == ["lr", "batch_size", "weight_decay"]


def test_names_words_and_mappings_say_the_same() -> None:
    wanted = Space((Dimension(name="lr", domain=LR),))
    assert space_of(["lr"], None, BASE) == wanted
    assert space_of([], "lr=log(1e-5,1e-1)", BASE) == wanted
    assert space_of([], ["lr=log(1e-5,1e-1)"], BASE) == wanted
    assert space_of([], (word for word in ["lr=log(1e-5,1e-1)"]), BASE) == wanted
    assert space_of([], {"lr": "log(1e-5,1e-1)"}, BASE) == wanted
    assert space_of([], {"lr": LR}, BASE) == wanted
    assert space_of([], wanted, BASE) == wanted


def test_what_is_said_of_a_field_takes_the_place_of_its_usual_range() -> None:
    space = space_of(["lr", "batch_size"], ["batch_size=[8,16]"], BASE)
    assert {one.name: one.domain for one in space.dimensions} == {"lr": LR, "batch_size": Choice(values=(8, 16))}


def test_a_choice_may_bring_fields_of_its_own() -> None:
    space = space_of([], {"optimizer": {"sgd": {"momentum": "float(0.5,0.99)"}, "adamw": None}}, BASE)
    assert space.names == ["optimizer", "momentum"]
    assert space.dimensions[1].when == {"optimizer": ("sgd",)}


@pytest.mark.parametrize(
    ("names", "said", "sentence"),
    [
        (["lrr"], None, "--tune lrr: there is no such setting"),
        (["lrr"], None, "Did you mean lr?"),
        (["model"], None, "--tune model: it has no usual range"),
        ([], ["lrr=log(1e-5,1e-1)"], "Did you mean lr?"),
        ([], ["lr"], "it names no values"),
        ([], ["lr=logg(1,2)"], "there is no such range"),
        ([], ["lr=log(0,1)"], "0 has no logarithm"),
        ([], ["lr=log(1,1e-3)"], "is empty. Say the smaller number first."),
        ([], ["lr=float(-1,1)"], "lr -1.0: should be greater than 0"),
        ([], ["batch_size=float(1,8)"], "batch_size takes whole numbers. Write int(1,8)."),
        ([], ["optimizer=[sgd,adamm]"], "Did you mean adam?"),
        ([], ["momentum=float(0.5,0.9) when optimizer=sgd"], "it waits for optimizer, which is not varied before it"),
        ([], {}, "--space: nothing is varied"),
        ([], {"lr": 3}, "3 is neither a range nor a list"),
    ],
)
def test_a_space_that_cannot_be_is_one_sentence(names: list[str], said: Any, sentence: str) -> None:
    with pytest.raises(ClearsightError) as caught:
        space_of(names, said, BASE)
    assert sentence in str(caught.value)


# --- objectives -------------------------------------------------------------------------------------------------------


def test_without_a_metric_the_monitor_is_aimed_at() -> None:
    assert objectives_of([], BASE) == (ACCURACY,)
    assert objectives_of([], BASE.replace(monitor="loss")) == (LOSS,)


@pytest.mark.parametrize(
    ("word", "metric", "direction"),
    [
        ("loss", "loss", "minimize"),
        ("roc_auc", "roc_auc", "maximize"),
        ("parameters", "parameters", "minimize"),
        ("images_per_second", "images_per_second", "maximize"),
        ("loss:maximize", "loss", "maximize"),
        ("loss:max", "loss", "maximize"),
        ("accuracy:min", "accuracy", "minimize"),
        ("accuracy:minimize", "accuracy", "minimize"),
    ],
)
def test_a_metric_knows_its_direction_and_can_be_told_another(word: str, metric: str, direction: Any) -> None:
    assert objectives_of([word], BASE) == (Objective(metric, direction),)


def test_several_metrics_are_several_objectives_in_their_order() -> None:
    assert [one.metric for one in objectives_of(["accuracy", "parameters"], BASE)] == ["accuracy", "parameters"]


def test_a_metric_or_direction_that_there_is_none_of() -> None:
    with pytest.raises(BadChoice, match=r"--metric acuracy: there is no such metric.* Did you mean accuracy\?"):
        objectives_of(["acuracy"], BASE)
    with pytest.raises(BadChoice, match=r"--metric loss:down: there is no such direction; allowed: maximize, minimize"):
        objectives_of(["loss:down"], BASE)


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_that_can_be_carried_out_is_not_complained_of() -> None:
    check_plan(plan())
    check_plan(plan(trials=1, parallel=1, target=0.9, time_limit=1.0, stop_after=1, epoch_budget=1, keep=2))
    check_plan(plan(objectives=(ACCURACY, LOSS), searcher="nsga2", pruner="none"))


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"trials": 0}, "--trials 0: it must be 1 or more."),
        ({"parallel": 0}, "--parallel 0: it must be 1 or more."),
        ({"stack": 0}, "--stack 0: it must be 1 or more."),
        ({"keep": 0}, "--keep 0: it must be 1 or more."),
        ({"stop_after": 0}, "--stop-after 0: it must be 1 or more."),
        ({"epoch_budget": -1}, "--epoch-budget -1: it must be 1 or more."),
        ({"cpus_per_trial": 0.0}, "--cpus-per-trial 0: it must be more than 0."),
        ({"gpus_per_trial": -1}, "--gpus-per-trial -1: it must be 0 or more."),
        (
            {"cpus_per_trial": 2.0},
            "--cpus-per-trial 2: it is for a cluster. Say --on ray too, or share this machine by --parallel.",
        ),
        (
            {"gpus_per_trial": 0.5},
            "--gpus-per-trial 0.5: it is for a cluster. Say --on ray too, or share this machine by --parallel.",
        ),
        ({"parallel": 11}, "--parallel 11: there are only 10 trials. Say --parallel 10 or fewer, or more --trials."),
        ({"target": math.nan}, "--target nan: it is no number that can be reached."),
        ({"time_limit": 0.0}, "--time-limit 0: a study needs some time. Say 90s, 10m or 2h."),
        ({"objectives": (ACCURACY, ACCURACY)}, "--metric accuracy: it is said twice."),
        (
            {"objectives": (Objective("seconds", "minimize"),)},
            "--metric seconds: the first objective must be a score of the validation split. "
            "Say one of accuracy, macro_f1, roc_auc, loss first.",
        ),
        (
            {"pruner": "medium"},
            "--prune medium: there is no such pruner; allowed: none, median, asha, hyperband, auto. "
            "Did you mean median?",
        ),
        ({"searcher": "tpee"}, "--search tpee: there is no such searcher"),
        ({"searcher": "tpee"}, "Did you mean tpe?"),
        (
            {"objectives": (ACCURACY, LOSS), "pruner": "median"},
            "--prune median: with several objectives nothing says which trial is behind.",
        ),
        (
            {"objectives": (ACCURACY, LOSS), "searcher": "asha"},
            "--search asha: it takes one objective. Use tpe, gp, nsga2 or random.",
        ),
        (
            {"searcher": "cmaes", "storage": "sqlite:///s.db"},
            "--search cmaes: its state cannot be kept in a shared storage without pickles. "
            "Leave --storage out, or use tpe.",
        ),
    ],
)
def test_a_plan_that_cannot_is_one_sentence(facts: dict[str, Any], sentence: str) -> None:
    assert sentence in complaint(**facts)


# --- what follows from it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("searcher", "pruner"), [("tpe", "median"), ("asha", "asha"), ("hyperband", "hyperband")])
def test_the_pruner_left_open_is_the_one_that_goes_with_the_search(searcher: str, pruner: str) -> None:
    assert searcher_of(searcher).pruner == pruner
    assert pruner_of(plan(searcher=searcher), BASE) == pruner


def test_the_pruner_that_was_said_is_taken() -> None:
    assert pruner_of(plan(searcher="tpe", pruner="asha"), BASE) == "asha"
    assert pruner_of(plan(pruner="median"), HEADS) == "median"


def test_nobody_is_pruned_among_others_or_with_several_objectives() -> None:
    assert pruner_of(plan(searcher="asha"), HEADS) == "none"
    assert pruner_of(plan(objectives=(ACCURACY, LOSS)), BASE) == "none"


def test_heads_over_one_frozen_network_stack_and_nothing_else() -> None:
    assert stacks(plan(), HEADS)
    assert not stacks(plan(), BASE)
    assert not stacks(plan(space=space_of(["lr"], ["image_size=[16,32]"], HEADS)), HEADS)
    assert not stacks(plan(objectives=(ACCURACY, Objective("seconds", "minimize"))), HEADS)


@pytest.mark.parametrize(
    ("words", "base", "most"),
    [
        (["epochs=int(5,40)"], BASE, 40),
        (["epochs=[3,9]"], BASE, 9),
        (["epochs=[none,1]"], BASE, 1),
        (
            ["optimizer=[sgd,adamw]", "epochs=int(2,4) when optimizer=sgd", "epochs=int(5,7) when optimizer=adamw"],
            BASE,
            7,
        ),
        (["lr=log(1e-5,1e-1)"], BASE.replace(epochs=6), 6),
        (["lr=log(1e-5,1e-1)"], BASE, 10),
        (["lr=log(1e-5,1e-1)"], HEADS, 30),
    ],
)
def test_the_most_epochs_that_a_trial_may_train(words: list[str], base: Recipe, most: int) -> None:
    assert most_epochs(plan(space=space_of([], words, base)), base) == most


def test_the_first_free_folder_is_named_after_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("/data/my photos.zip") == Path("studies/my-photos-1")
    Path("studies/my-photos-1").mkdir(parents=True)
    Path("studies/my-photos-2").mkdir()
    assert free_folder("/data/my photos.zip") == Path("studies/my-photos-3")
    assert free_folder("/") == Path("studies/study-1")


def test_a_whole_number_stays_one() -> None:
    assert space_of([], ["epochs=int(5,40)"], BASE).dimensions[0].domain == IntRange(low=5, high=40)
