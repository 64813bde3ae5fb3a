"""`--freeze auto` comes to one plan by the weights, the time that training takes, and what the user has set."""

from __future__ import annotations

import math
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.auto_freeze import (
    CPU_SECONDS,
    FEW_IMAGES,
    WHOLE_EPOCHS,
    FreezeChoice,
    FreezeReason,
    TrainingCost,
    choose_freeze,
)
from clearsight.workflow.prepare.defaults import HEAD_EPOCHS

PRETRAINED = Recipe().replace(model="resnet18")


def cost(seconds: float = 0.01, **fields: Any) -> TrainingCost:
    """Return the cost of 2,000 training and 150 validation images at `seconds` each."""
    return TrainingCost(**{"step_seconds": seconds, "train": 2000, "valid": 150, **fields})


def choose(recipe: Recipe = PRETRAINED, at: TrainingCost | None = None, **settings: Any) -> FreezeChoice:
    return choose_freeze(recipe.replace(**settings), lambda: at or cost())


def phases(choice: FreezeChoice) -> tuple[str, int | None, int | None]:
    recipe = choice.recipe
    return recipe.model.freeze, recipe.train.head_epochs, recipe.train.epochs


def test_pretrained_weights_train_the_head_first_and_then_everything_if_needed() -> None:
    choice = choose()
    assert phases(choice) == ("none", HEAD_EPOCHS, HEAD_EPOCHS + WHOLE_EPOCHS)
    train, optim = choice.recipe.train, choice.recipe.optim
    assert (choice.recipe.data.augment, train.head_augment) == ("light", False)
    assert (train.second_phase, train.reset_head, optim.backbone_lr_factor) == ("if_needed", True, 1.0)
    assert (train.batch_size, train.second_batch_size) == (32, 16)
    assert choice.reason is FreezeReason.IF_NEEDED
    assert choice.seconds == pytest.approx(0.01 * (2150 / 3 + WHOLE_EPOCHS * (2000 + 150 / 3)))
    assert choice.other_seconds == pytest.approx(0.01 * 2150 / 3)


def test_few_images_train_the_head_alone() -> None:
    choice = choose(at=cost(train=FEW_IMAGES - 1))
    assert (choice.reason, choice.recipe) == (FreezeReason.FEW_IMAGES, PRETRAINED.replace(freeze="backbone"))
    assert choice.other_seconds > choice.seconds
    assert choose(at=cost(train=FEW_IMAGES)).reason is FreezeReason.IF_NEEDED
    assert choose(at=cost(train=FEW_IMAGES // 2, processes=2)).reason is FreezeReason.IF_NEEDED


def test_weights_that_come_with_a_head_keep_it() -> None:
    choice = choose_freeze(PRETRAINED, cost, has_head=True)
    assert (choice.reason, choice.recipe.train.reset_head) == (FreezeReason.IF_NEEDED, False)


@pytest.mark.parametrize(
    "settings",
    [
        *({"head_epochs": 3}, {"head_lr": 0.01}, {"augment": "light"}, {"mixup": 0.2}, {"backbone_lr_factor": 0.3}),
        *({"second_phase": "always"}, {"reset_head": True}, {"second_batch_size": 8}),
    ],
)
@pytest.mark.parametrize("images", [100, 2000])
def test_settings_of_the_whole_network_train_it_in_any_case(settings: dict[str, Any], images: int) -> None:
    choice = choose(at=cost(train=images), **settings)
    assert choice.reason is FreezeReason.FINE_TUNE
    found = {"augment": "light", "backbone_lr_factor": 0.1, "second_phase": None, "reset_head": None, **settings}
    assert {name: choice.recipe.flat()[name] for name in found} == found


@pytest.mark.parametrize(("model", "weights"), [("resnet18", "none"), ("tiny", "default")])
def test_random_weights_are_trained_as_a_whole_without_measuring(model: str, weights: str) -> None:
    choice = choose_freeze(PRETRAINED.replace(model=model, weights=weights), lambda: pytest.fail("measured"))
    assert choice.reason is FreezeReason.RANDOM_WEIGHTS
    assert choice.recipe == PRETRAINED.replace(model=model, weights=weights, freeze="none")


@pytest.mark.parametrize(
    ("seconds", "fields", "time_limit", "freeze"),
    [
        (0.01, {}, None, "none"),
        (0.1, {}, None, "backbone"),  # 1,100 s on a CPU
        (0.1, {"on_cpu": False}, None, "none"),
        (0.01, {}, 200.0, "none"),  # 110 s within 70 % of it
        (0.01, {}, 150.0, "backbone"),
        (0.1, {"on_cpu": False}, 60.0, "backbone"),
    ],
)
def test_the_head_alone_where_the_rest_takes_too_long(
    seconds: float, fields: dict[str, Any], time_limit: float | None, freeze: str
) -> None:
    choice = choose(at=cost(seconds, **fields), time_limit=time_limit)
    assert choice.recipe.model.freeze == freeze
    if freeze == "backbone":
        assert choice.reason is FreezeReason.TOO_SLOW
        assert choice.other_seconds > choice.limit
        assert choice.limit == min(math.inf if time_limit is None else 0.7 * time_limit, CPU_SECONDS)
        assert phases(choice)[1:] == (None, None)  # the epochs of a head are filled in later
        assert choice.recipe.data.augment is None


def test_given_epochs_of_the_first_phase_ask_for_a_second() -> None:
    assert phases(choose(at=cost(10.0), head_epochs=2)) == ("none", 2, 2 + WHOLE_EPOCHS)


@pytest.mark.parametrize(("epochs", "head"), [(2, 1), (3, 2), (9, 5), (10, 5), (20, 15), (35, 30), (36, 30), (100, 30)])
def test_given_epochs_are_the_epochs_of_both_phases(epochs: int, head: int) -> None:
    assert phases(choose(at=cost(0.001), epochs=epochs)) == ("none", head, epochs)


def test_a_single_epoch_trains_the_head() -> None:
    choice = choose(epochs=1)
    assert (choice.reason, phases(choice)) == (FreezeReason.ONE_EPOCH, ("backbone", None, 1))


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 3e-4},
        {"augment": "standard"},
        {"augment": "none"},
        {"head_lr": 0.02},
        {"head_augment": True},
        {"backbone_lr_factor": 0.5},
        {"batch_size": 8, "weight_decay": 0.1},
    ],
)
def test_what_is_set_is_kept(settings: dict[str, Any]) -> None:
    found = choose(**settings).recipe.flat()
    assert {name: found[name] for name in settings} == settings


def test_a_given_rate_is_for_the_whole_network_and_the_head_has_its_own() -> None:
    few = cost(train=600)  # 570 steps for a new head
    found = [choose(at=few, head_augment=False, **given).recipe.optim.head_lr for given in ({}, {"lr": 3e-4})]
    assert found == [1.1e-3, 1.1e-3]


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"feature_cache": False}, {"head_augment": True}])
def test_a_first_phase_that_cannot_be_cached_is_short(settings: dict[str, Any]) -> None:
    assert phases(choose(**settings)) == ("none", 1, 1 + WHOLE_EPOCHS)
