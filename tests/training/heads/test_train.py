"""Heads that train together get the results that `training.loop` gives for each of them alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.errors import BadShape, BadValue
from clearsight.core.events import EpochRecord
from clearsight.core.recipe import Recipe
from clearsight.training.heads import train as stack
from clearsight.training.heads.job import HeadData
from tests.training.stacks import (
    TRAIN,
    LoopRun,
    assert_same,
    digits,
    drawn_again,
    head_for,
    near,
    recipe,
    similar,
    train_alone,
    train_together,
)

VARIATIONS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "adamw, strong decay": {"weight_decay": 0.5, "lr": 0.05},
    "adam with L2": {"optimizer": "adam", "weight_decay": 0.1},
    "adam without decay": {"optimizer": "adam", "weight_decay": 0.0},
    "large epsilon": {"eps": 1e-2},
    "sgd": {"optimizer": "sgd", "lr": 0.1},
    "sgd with L2": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1, "momentum": 0.5},
    "sgd without momentum": {"optimizer": "sgd", "lr": 0.5, "momentum": 0.0},
    "no warmup": {"warmup": 0.0},
    "long warmup": {"warmup": 0.6},
    "step schedule": {"schedule": "step", "step_size": 1, "gamma": 0.5},
    "constant rate": {"schedule": "constant"},
    "smoothed": {"label_smoothing": 0.2},
    "balanced": {"class_weights": "balanced"},
    "balanced and smoothed": {"class_weights": "balanced", "label_smoothing": 0.1},
    "no partial batch": {"batch_size": 40},
    "one batch, larger than the split": {"batch_size": 512, "epochs": 5},
    "one epoch": {"epochs": 1},
    "many epochs": {"epochs": 12},
    "another seed": {"seed": 7},
    "dropped features": {"dropout": 0.3},
    "hidden": {"head": (24,)},
    "two hidden": {"head": (24, 16), "optimizer": "sgd", "lr": 0.1},
    "hidden, dropout": {"head": (24,), "dropout": 0.3},
    "two hidden, dropout, balanced": {"head": (24, 16), "dropout": 0.5, "class_weights": "balanced"},
    "monitor loss": {"monitor": "loss"},
    "monitor macro_f1": {"monitor": "macro_f1"},
    "monitor roc_auc where there is none": {"monitor": "roc_auc"},
}


@pytest.fixture(scope="module")
def loop_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoopRun]:
    """The variations, each trained alone only once."""

    @cache
    def run(name: str) -> LoopRun:
        return train_alone(recipe(**VARIATIONS[name]), digits(), tmp_path_factory.mktemp("alone"))

    return run


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_stack_of_one_is_the_loop(name: str, loop_run: Callable[[str], LoopRun]) -> None:
    [result] = train_together([recipe(**VARIATIONS[name])], digits())
    assert_same(result, loop_run(name))


def test_different_heads_in_one_stack_are_each_as_alone(loop_run: Callable[[str], LoopRun]) -> None:
    """Whatever shapes, rules, batches, seeds and lengths they have; results come in the order of the heads."""
    results = train_together([recipe(**settings) for settings in VARIATIONS.values()], digits())
    assert [result.number for result in results] == list(range(len(VARIATIONS)))
    for name, result in zip(VARIATIONS, results, strict=True):
        assert_same(result, loop_run(name))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("shape", [{}, {"head": (12,)}], ids=["linear", "hidden"])
def test_batches_of_several_sizes_go_through_an_epoch_together(
    optimizer: str, shape: dict[str, Any], tmp_path: Path
) -> None:
    """The smallest ones leave first, and the others go on in larger pieces.

    With the usual epsilon Adam makes a whole step of what is rounding in a gradient near 0, and a sum over pieces is
    rounded in another way than one over the batch.
    """
    same = {"optimizer": optimizer, "lr": 0.02, "eps": 1e-4, **shape}
    recipes = [
        recipe(**same, batch_size=64, epochs=6),
        recipe(**same, batch_size=8, epochs=2, weight_decay=0.2),
        recipe(**same, batch_size=512, epochs=5, class_weights="balanced", schedule="constant"),
        recipe(**same, batch_size=32, epochs=3, label_smoothing=0.1, momentum=0.5),
        recipe(**same, batch_size=64, epochs=4, class_weights="balanced", warmup=0.5),
        recipe(**same, batch_size=24, epochs=3),
    ]
    for number, result in enumerate(train_together(recipes, digits())):
        assert result.steps_per_epoch == -(-TRAIN // recipes[number].train.batch_size)
        assert_same(result, train_alone(recipes[number], digits(), tmp_path / str(number)))


def test_large_heads_are_grouped_by_equal_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = [recipe(batch_size=size, epochs=2) for size in (16, 32, 16)]
    sizes: list[list[int]] = []

    class Counted(stack.HeadGroup):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            sizes.append([head.recipe.train.batch_size for head in self.heads])

    monkeypatch.setattr(stack, "HeadGroup", Counted)
    small = train_together(recipes, digits())
    monkeypatch.setattr(stack, "_CALL_BOUND", 0)
    large = train_together(recipes, digits())
    assert sizes == [[16, 16, 32], [16, 16], [32]]
    for result, expected in zip(large, small, strict=True):
        assert result.loss.tolist() == near(expected.loss)


DATA: dict[str, Callable[[], HeadData]] = {
    "several views": lambda: digits(views=3),
    "half precision": lambda: replace(digits(), views=digits().views.half()),
    "images drawn again": lambda: replace(digits(), order=drawn_again),
    "no validation": lambda: replace(digits(), valid=None),
    "two classes": lambda: digits(classes=2),
    "two classes that are hard to tell apart": similar,
    "validation of one class": lambda: replace(similar(), valid=(digits().views[0, :20], np.zeros(20, dtype=np.int64))),
}


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_other_kinds_of_data(make: Callable[[], HeadData], tmp_path: Path) -> None:
    data = make()
    recipes = [
        recipe(epochs=5, monitor="roc_auc"),
        recipe(epochs=5, monitor="roc_auc", optimizer="sgd", class_weights="balanced"),
        recipe(epochs=4, monitor="macro_f1", head=(12,), dropout=0.2),
    ]
    for number, result in enumerate(train_together(recipes, data)):
        assert_same(result, train_alone(recipes[number], data, tmp_path / str(number)))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("shape", [{}, {"head": (12,), "dropout": 0.3}], ids=["linear", "hidden"])
def test_heads_that_end_do_not_change_those_that_stay(optimizer: str, shape: dict[str, Any], tmp_path: Path) -> None:
    """Its moments, its decay, its class weights and its dropout stay its own when others are done before it."""
    same = {"optimizer": optimizer, "lr": 0.02, **shape}
    recipes = [
        recipe(**same, epochs=1),
        recipe(**same, epochs=4, weight_decay=0.2, class_weights="balanced", eps=1e-6, momentum=0.5),
        recipe(**same, epochs=2, weight_decay=0.0),
        recipe(**{**same, "lr": 0.005}, epochs=6, label_smoothing=0.1),
    ]
    for number, result in enumerate(train_together(recipes, digits())):
        assert_same(result, train_alone(recipes[number], digits(), tmp_path / str(number)))


def test_an_epoch_of_all_heads_is_announced_before_the_next() -> None:
    announced: list[tuple[int, int]] = []

    def on_epoch(number: int, record: EpochRecord) -> str:
        announced.append((record.epoch, number))
        return ""

    recipes = [recipe(epochs=1), recipe(epochs=3, batch_size=50), recipe(epochs=2), recipe(epochs=3, seed=1)]
    train_together(recipes, digits(), on_epoch=on_epoch)
    assert [epoch for epoch, _ in announced] == sorted(epoch for epoch, _ in announced)
    assert sorted(announced) == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 3)]


def test_the_best_state_is_a_copy() -> None:
    """It shares no memory with the caller's modules, nor with what other heads or later epochs change."""
    modules: list[nn.Module] = []

    def build(head_recipe: Recipe) -> nn.Module:
        modules.append(head_for(digits())(head_recipe))
        return modules[-1]

    before = head_for(digits())(recipe()).state_dict()
    results = train_together([recipe(), recipe(lr=0.1)], digits(), build)
    assert all(torch.equal(tensor, before[name]) for module in modules for name, tensor in module.state_dict().items())
    places = {t.untyped_storage().data_ptr() for result in results for t in result.best_state.values()}
    assert len(places) == 4


def test_the_heads_seconds_add_up_to_the_whole() -> None:
    start = time.monotonic()
    results = train_together([recipe(), recipe(epochs=1), recipe(batch_size=50)], digits())
    assert 0 < sum(result.seconds for result in results) <= time.monotonic() - start
    for result in results:
        assert sum(epoch.seconds for epoch in result.epochs) == pytest.approx(result.seconds)
        assert all(epoch.images_per_second > 0 for epoch in result.epochs)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_is_restored() -> None:
    inside: list[int] = []

    def on_epoch(*_: object) -> str:
        inside.append(torch.get_num_threads())
        return ""

    train_together([recipe(epochs=1)], digits(), on_epoch=on_epoch)
    assert (inside, torch.get_num_threads()) == ([1], 2)

    def fails(*_: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together([recipe(epochs=1)], digits(), on_epoch=fails)
    assert torch.get_num_threads() == 2


NOT_STACKED: dict[str, tuple[dict[str, Any], str]] = {
    "ema": ({"ema": 0.9}, "ema 0.9: "),
    "mixup": ({"mixup": 0.2}, "mixup 0.2: "),
    "cutmix": ({"cutmix": 1.0}, "cutmix 1.0: "),
    "bf16": ({"precision": "bf16"}, "precision bf16: "),
    "fp16": ({"precision": "fp16"}, "precision fp16: "),
    "clipping": ({"clip_grad": 0.1}, "clip_grad 0.1: "),
    "accumulation": ({"accumulate": 2}, "accumulate 2: "),
}


@pytest.mark.parametrize(("settings", "start"), NOT_STACKED.values(), ids=NOT_STACKED)
def test_settings_that_only_the_loop_supports_are_refused(settings: dict[str, Any], start: str) -> None:
    with pytest.raises(BadValue) as caught:
        train_together([recipe(), recipe(**settings)], digits())
    assert str(caught.value) == f"{start}heads that train together do not support it. Train this head alone."


def test_a_head_that_is_not_a_chain_of_linear_layers_is_refused() -> None:
    with pytest.raises(BadValue, match="head: a stack takes linear layers with ReLU and dropout between, not Conv2d"):
        train_together([recipe()], digits(), lambda _: nn.Conv2d(3, 4, 3))


def test_features_that_are_maps_are_refused() -> None:
    maps = replace(digits(), views=digits().views.view(1, TRAIN, 8, 8))
    with pytest.raises(BadShape, match=r"a stack takes \(views, images, features\), not \(1, 200, 8, 8\)"):
        train_together([recipe()], maps)


def test_the_data_do_not_change() -> None:
    """And may be read-only."""
    data = digits(views=2)
    labels = data.labels.copy()
    labels.flags.writeable = False
    data = replace(data, labels=labels)
    before, valid = data.views.clone(), data.valid[0].clone()  # type: ignore[index]
    train_together([recipe(), recipe(head=(12,)), recipe(dropout=0.5)], data)
    assert torch.equal(data.views, before)
    assert torch.equal(data.valid[0], valid)  # type: ignore[index]


def test_rates_fall_where_they_should() -> None:
    [result] = train_together([recipe(epochs=4, schedule="step", step_size=2, gamma=0.1, warmup=0.0)], digits())
    assert result.steps_per_epoch == 7
    assert result.lr.tolist() == pytest.approx([0.01] * 14 + [0.001] * 14)
    [result] = train_together([recipe(schedule="cosine", warmup=0.0)], digits())
    assert all(now < before for before, now in pairwise(result.lr.tolist()))
