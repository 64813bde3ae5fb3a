"""The plan of a study is checked before anything starts, and tells which trials can train together, without torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, ClearsightError
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, IntRange, Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.workflow.study.plan import (
    NUMBERS,
    can_stack,
    check_plan,
    most_epochs,
    objectives_of,
    pruner_of,
    resolve_freeze,
    searcher_of,
    space_lines,
    space_of,
    stack_key,
    stacks,
)

BASE = Recipe().replace(model="tiny", weights="none")
HEADS = BASE.replace(freeze="backbone")
LR = FloatRange(low=1e-5, high=1e-1, log=True)
ACCURACY, LOSS = Objective("accuracy", "maximize"), Objective("loss", "minimize")


def plan(**settings: Any) -> StudyPlan:
    required: dict[str, Any] = {"data": "/d", "space": space_of(["lr"], None, BASE), "objectives": (ACCURACY,)}
    return StudyPlan.parse({**required, "trials": 10, **settings})


def error_of(**settings: Any) -> str:
    with pytest.raises(ClearsightError) as caught:
        check_plan(plan(**settings))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# --- spaces -----------------------------------------------------------------------------------------------------------


def test_without_names_or_values_three_settings_are_varied() -> None:
    for source in (None, [], ()):
        assert space_of([], source, BASE).names == ["lr", "batch_size", "weight_decay"]


def test_names_texts_and_mappings_give_the_same_space() -> None:
    expected = Space((Dimension(name="lr", domain=LR),))
    assert space_of(["lr"], None, BASE) == expected
    assert space_of([], "lr=log(1e-5,1e-1)", BASE) == expected
    assert space_of([], ["lr=log(1e-5,1e-1)"], BASE) == expected
    assert space_of([], (text for text in ["lr=log(1e-5,1e-1)"]), BASE) == expected
    assert space_of([], {"lr": "log(1e-5,1e-1)"}, BASE) == expected
    assert space_of([], {"lr": LR}, BASE) == expected
    assert space_of([], expected, BASE) == expected


def test_values_of_a_setting_replace_its_usual_range() -> None:
    space = space_of(["lr", "batch_size"], ["batch_size=[8,16]"], BASE)
    domains = {dimension.name: dimension.domain for dimension in space.dimensions}
    assert domains == {"lr": LR, "batch_size": Choice(values=(8, 16))}
    assert space_lines(space) == ["lr=log(1e-05,0.1)", "batch_size=[8,16]"]


def test_a_choice_may_bring_settings_of_its_own() -> None:
    space = space_of([], {"optimizer": {"sgd": {"momentum": "float(0.5,0.99)"}, "adamw": None}}, BASE)
    assert space.names == ["optimizer", "momentum"]
    assert space.dimensions[1].condition == {"optimizer": ("sgd",)}


@pytest.mark.parametrize(
    ("names", "source", "sentence"),
    [
        (["lrr"], None, "--tune lrr: no such setting"),
        (["lrr"], None, "Did you mean lr?"),
        (["model"], None, "--tune model: it has no usual range"),
        ([], ["lrr=log(1e-5,1e-1)"], "Did you mean lr?"),
        ([], ["lr"], "--space 'lr': no values"),
        ([], ["lr=logg(1,2)"], "no such range"),
        ([], ["lr=log(0,1)"], "0 has no logarithm"),
        ([], ["lr=log(1,1e-3)"], "is empty. Write the smaller number first."),
        ([], ["lr=float(-1,1)"], "lr -1.0: must be a number, above 0"),
        ([], ["batch_size=float(1,8)"], "batch_size takes whole numbers. Write int(1,8)."),
        ([], ["optimizer=[sgd,adamm]"], "Did you mean adam?"),
        (
            [],
            ["momentum=float(0.5,0.9) when optimizer=sgd"],
            "its condition needs optimizer, which no earlier dimension varies",
        ),
        ([], {}, "--space: no settings"),
        ([], {"lr": 3}, "3 is neither a range nor a list"),
    ],
)
def test_a_mistake_in_the_space_is_one_sentence(names: list[str], source: Any, sentence: str) -> None:
    with pytest.raises(ClearsightError) as caught:
        space_of(names, source, BASE)
    assert sentence in str(caught.value)


# --- objectives -------------------------------------------------------------------------------------------------------


def test_without_a_metric_the_monitor_is_the_objective() -> None:
    assert objectives_of([], BASE) == (ACCURACY,)
    assert objectives_of([], BASE.replace(monitor="loss")) == (LOSS,)


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
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
def test_a_metric_has_a_direction_and_can_be_given_another(text: str, metric: str, direction: Any) -> None:
    assert objectives_of([text], BASE) == (Objective(metric, direction),)


def test_several_metrics_are_several_objectives_in_their_order() -> None:
    assert [objective.metric for objective in objectives_of(["accuracy", "parameters"], BASE)] == [
        "accuracy",
        "parameters",
    ]


def test_an_unknown_metric_or_direction_is_an_error() -> None:
    with pytest.raises(BadChoice, match=r"--metric acuracy: no such metric.* Did you mean accuracy\?"):
        objectives_of(["acuracy"], BASE)
    with pytest.raises(BadChoice, match=r"--metric loss:down: no such direction\. Allowed: maximize, minimize"):
        objectives_of(["loss:down"], BASE)


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_a_possible_plan_passes() -> None:
    check_plan(plan())
    check_plan(plan(trials=1, parallel=1, target=0.9, time_limit=1.0, stop_after=1, epoch_budget=1, keep=2))
    check_plan(plan(objectives=(ACCURACY, LOSS), searcher="nsga2", pruner="none"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"cpus_per_trial": 2.0},
            "--cpus-per-trial 2: only a cluster uses it. Add --on ray, or use --parallel to share this machine.",
        ),
        (
            {"gpus_per_trial": 0.5},
            "--gpus-per-trial 0.5: only a cluster uses it. Add --on ray, or use --parallel to share this machine.",
        ),
        (
            {"parallel": 11},
            "--parallel 11: the study has only 10 trials. Use --parallel 10 or fewer, or raise --trials.",
        ),
        ({"objectives": (ACCURACY, ACCURACY)}, "--metric accuracy: given twice. Keep one."),
        (
            {"objectives": (Objective("seconds", "minimize"),)},
            "--metric seconds: the first metric must be a score of the validation images. "
            "Put one of accuracy, macro_f1, roc_auc, loss first.",
        ),
        (
            {"pruner": "medium"},
            "--prune medium: no such pruner. Allowed: none, median, asha, hyperband, auto. Did you mean median?",
        ),
        ({"searcher": "tpee"}, "--search tpee: no such searcher"),
        ({"searcher": "tpee"}, "Did you mean tpe?"),
        (
            {"objectives": (ACCURACY, LOSS), "pruner": "median"},
            "--prune median: pruning needs a single metric. Use --prune none.",
        ),
        (
            {"objectives": (ACCURACY, LOSS), "searcher": "asha"},
            "--search asha: this search supports a single metric. Use tpe, gp, nsga2 or random.",
        ),
        (
            {"searcher": "cmaes", "storage": "sqlite:///s.db"},
            "--search cmaes: it cannot share its state with other machines. Remove --storage, or use --search tpe.",
        ),
    ],
)
def test_an_impossible_plan_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    assert sentence in error_of(**settings)


# --- what follows from it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("searcher", "pruner"), [("tpe", "median"), ("asha", "asha"), ("hyperband", "hyperband")])
def test_without_a_pruner_the_searcher_decides(searcher: str, pruner: str) -> None:
    assert searcher_of(searcher).pruner == pruner
    assert pruner_of(plan(searcher=searcher), BASE) == pruner


def test_a_named_pruner_is_used() -> None:
    assert pruner_of(plan(searcher="tpe", pruner="asha"), BASE) == "asha"
    assert pruner_of(plan(pruner="median"), HEADS) == "median"


def test_stacked_trials_and_several_objectives_are_not_pruned() -> None:
    assert pruner_of(plan(searcher="asha"), HEADS) == "none"
    assert pruner_of(plan(objectives=(ACCURACY, LOSS)), BASE) == "none"


def test_heads_over_one_frozen_network_stack_and_nothing_else() -> None:
    assert stacks(plan(), HEADS)
    assert not stacks(plan(), BASE)
    assert not stacks(plan(space=space_of(["lr"], ["image_size=[16,32]"], HEADS)), HEADS)
    assert not stacks(plan(objectives=(ACCURACY, Objective("seconds", "minimize"))), HEADS)


@pytest.mark.parametrize(
    ("texts", "base", "epochs"),
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
def test_the_most_epochs_of_a_trial(texts: list[str], base: Recipe, epochs: int) -> None:
    assert most_epochs(plan(space=space_of([], texts, base)), base) == epochs


def test_a_whole_number_stays_one() -> None:
    assert space_of([], ["epochs=int(5,40)"], BASE).dimensions[0].domain == IntRange(low=5, high=40)


HEAD = Recipe().replace(model="tiny", weights="none", freeze="backbone")
ACCURACY_ALONE = ("accuracy",)


def test_the_key_loads_no_torch() -> None:
    code = (
        "import sys; from clearsight.core.recipe import Recipe; "
        "from clearsight.workflow.study.plan import stack_key; "
        "stack_key(Recipe().replace(freeze='backbone'), ['loss']); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.1},
        {"weight_decay": 0.1},
        {"eps": 1e-4},
        {"optimizer": "sgd", "momentum": 0.5},
        {"schedule": "step", "step_size": 3, "gamma": 0.5, "warmup": 0.2},
        {"batch_size": 7},
        {"epochs": 3},
        {"seed": 5},
        {"label_smoothing": 0.1, "class_weights": "balanced"},
        {"patience": 2},
        {"dropout": 0.3, "head": (64,)},
    ],
    ids=str,
)
def test_heads_that_differ_in_numbers_can_train_together(change: dict[str, Any]) -> None:
    assert stack_key(HEAD.replace(**change), ACCURACY_ALONE) == stack_key(HEAD, ACCURACY_ALONE) is not None
    assert can_stack(HEAD, list(change), ACCURACY_ALONE)


@pytest.mark.parametrize(
    "change",
    [{"image_size": 16}, {"model": "resnet18"}, {"limit": 50}, {"monitor": "loss"}, {"threads": 1}],
    ids=str,
)
def test_heads_over_other_images_or_networks_cannot(change: dict[str, Any]) -> None:
    other = stack_key(HEAD.replace(**change), ACCURACY_ALONE)
    assert other is not None
    assert other != stack_key(HEAD, ACCURACY_ALONE)
    assert not can_stack(HEAD, list(change), ACCURACY_ALONE)


@pytest.mark.parametrize(
    "change",
    [
        {"freeze": "none"},
        {"freeze": "2"},
        {"feature_cache": False},
        {"mixup": 0.2},
        {"cutmix": 0.5},
        {"augment": "light"},
        {"ema": 0.9},
        {"time_limit": 60},
        {"precision": "bf16"},
        {"clip_grad": 1.0},
        {"accumulate": 2},
        {"save": ("gradients",)},
        {"rule": ("Overfit(patience=3)",)},
        {"on_finding": ("stop",)},
        {"save_every": 5},
    ],
    ids=str,
)
def test_settings_that_need_a_run_make_a_trial_train_alone(change: dict[str, Any]) -> None:
    assert stack_key(HEAD.replace(**change), ACCURACY_ALONE) is None
    assert not can_stack(HEAD.replace(**change), ["lr"], ACCURACY_ALONE)


def test_heads_can_train_on_stored_augmented_views() -> None:
    assert stack_key(HEAD.replace(augment="light", views=2), ACCURACY_ALONE) is not None


@pytest.mark.parametrize(
    ("metrics", "stacks"),
    [
        (["loss"], True),
        (["accuracy", "parameters"], True),
        (["macro_f1", "roc_auc"], True),
        (["accuracy", "seconds"], False),
        (["accuracy", "images_per_second"], False),
    ],
)
def test_times_are_no_objective_of_a_stack(metrics: list[str], stacks: bool) -> None:
    assert can_stack(HEAD, ["lr"], metrics) is stacks


def test_every_number_is_a_setting() -> None:
    assert set(NUMBERS) <= set(Recipe().flat())


PRETRAINED = Recipe().replace(model="resnet18")


@pytest.mark.parametrize(
    ("settings", "names", "accelerated", "freeze"),
    [
        ({}, ["lr"], False, "backbone"),  # heads, which train in seconds
        ({}, ["lr"], True, "none"),
        ({}, ["lr", "backbone_lr_factor"], False, "none"),
        ({"augment": "light"}, ["lr"], False, "none"),
        ({}, ["freeze"], False, "none"),  # replaced in each trial
        ({"weights": "none"}, ["lr"], False, "none"),
        ({"freeze": "3"}, ["lr"], False, "3"),
    ],
)
def test_all_trials_freeze_the_same(settings: dict[str, Any], names: list[str], accelerated: bool, freeze: str) -> None:
    base = PRETRAINED.replace(**settings)
    assert resolve_freeze(base, names, accelerated=accelerated) == base.replace(freeze=freeze)
