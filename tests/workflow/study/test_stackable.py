"""Which trials can train together follows from their recipes alone, without torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.workflow.study.stackable import NUMBERS, can_stack, stack_key

HEAD = Recipe().replace(model="tiny", weights="none", freeze="backbone")
ACCURACY = ("accuracy",)


def test_the_key_loads_no_torch() -> None:
    code = (
        "import sys; from clearsight.core.recipe import Recipe; "
        "from clearsight.workflow.study.stackable import stack_key; "
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
    assert stack_key(HEAD.replace(**change), ACCURACY) == stack_key(HEAD, ACCURACY) is not None
    assert can_stack(HEAD, list(change), ACCURACY)


@pytest.mark.parametrize(
    "change",
    [{"image_size": 16}, {"model": "resnet18"}, {"limit": 50}, {"monitor": "loss"}, {"threads": 1}],
    ids=str,
)
def test_heads_over_other_images_or_networks_cannot(change: dict[str, Any]) -> None:
    other = stack_key(HEAD.replace(**change), ACCURACY)
    assert other is not None
    assert other != stack_key(HEAD, ACCURACY)
    assert not can_stack(HEAD, list(change), ACCURACY)


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
    assert stack_key(HEAD.replace(**change), ACCURACY) is None
    assert not can_stack(HEAD.replace(**change), ["lr"], ACCURACY)


def test_heads_can_train_on_stored_augmented_views() -> None:
    assert stack_key(HEAD.replace(augment="light", views=2), ACCURACY) is not None


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
