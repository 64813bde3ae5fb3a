"""Heads that train together come out as `training.loop` makes each of them alone."""

from __future__ import annotations

import math
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
from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.training.heads import train as stack
from clearsight.training.heads.job import HeadData
from tests.training.stacks import (
    TRAIN,
    Alone,
    alone,
    assert_same,
    digits,
    drawn_again,
    head_for,
    near,
    recipe,
    similar,
    together,
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
def alone_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Alone]:
    """The variations, each trained alone only once."""

    @cache
    def run(name: str) -> Alone:
        return alone(recipe(**VARIATIONS[name]), digits(), tmp_path_factory.mktemp("alone"))

    return run


@pytest.mark.parametrize("name", VARIATIONS)
def test_a_stack_of_one_is_the_loop(name: str, alone_once: Callable[[str], Alone]) -> None:
    [result] = together([recipe(**VARIATIONS[name])], digits())
    assert_same(result, alone_once(name))


def test_different_heads_in_one_stack_are_each_as_alone(alone_once: Callable[[str], Alone]) -> None:
    """Whatever shapes, rules, batches, seeds and lengths they have; results come in the order of the heads."""
    results = together([recipe(**settings) for settings in VARIATIONS.values()], digits())
    assert [result.number for result in results] == list(range(len(VARIATIONS)))
    for name, result in zip(VARIATIONS, results, strict=True):
        assert_same(result, alone_once(name))


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
    for number, result in enumerate(together(recipes, digits())):
        assert result.steps_per_epoch == -(-TRAIN // recipes[number].train.batch_size)
        assert_same(result, alone(recipes[number], digits(), tmp_path / str(number)))


def test_large_heads_keep_to_those_of_their_own_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = [recipe(batch_size=size, epochs=2) for size in (16, 32, 16)]
    sizes: list[list[int]] = []

    class Counted(stack.Group):
        def __init__(self, *told: Any) -> None:
            super().__init__(*told)
            sizes.append([course.recipe.train.batch_size for course in self.courses])

    monkeypatch.setattr(stack, "Group", Counted)
    small = together(recipes, digits())
    monkeypatch.setattr(stack, "_SMALL", 0)
    large = together(recipes, digits())
    assert sizes == [[16, 16, 32], [16, 16], [32]]
    for one, other in zip(large, small, strict=True):
        assert one.loss.tolist() == near(other.loss)


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
def test_whatever_the_data(make: Callable[[], HeadData], tmp_path: Path) -> None:
    data = make()
    recipes = [
        recipe(epochs=5, monitor="roc_auc"),
        recipe(epochs=5, monitor="roc_auc", optimizer="sgd", class_weights="balanced"),
        recipe(epochs=4, monitor="macro_f1", head=(12,), dropout=0.2),
    ]
    for number, result in enumerate(together(recipes, data)):
        assert_same(result, alone(recipes[number], data, tmp_path / str(number)))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("shape", [{}, {"head": (12,), "dropout": 0.3}], ids=["linear", "hidden"])
def test_who_stays_is_not_disturbed_by_who_leaves(optimizer: str, shape: dict[str, Any], tmp_path: Path) -> None:
    """Its moments, its decay, its class weights and its dropout stay its own when others are done before it."""
    same = {"optimizer": optimizer, "lr": 0.02, **shape}
    recipes = [
        recipe(**same, epochs=1),
        recipe(**same, epochs=4, weight_decay=0.2, class_weights="balanced", eps=1e-6, momentum=0.5),
        recipe(**same, epochs=2, weight_decay=0.0),
        recipe(**{**same, "lr": 0.005}, epochs=6, label_smoothing=0.1),
    ]
    for number, result in enumerate(together(recipes, digits())):
        assert_same(result, alone(recipes[number], digits(), tmp_path / str(number)))


def test_an_epoch_is_told_once_to_all_before_the_next() -> None:
    told: list[tuple[int, int]] = []

    def on_epoch(number: int, record: EpochRecord) -> str:
        told.append((record.epoch, number))
        return ""

    recipes = [recipe(epochs=1), recipe(epochs=3, batch_size=50), recipe(epochs=2), recipe(epochs=3, seed=1)]
    together(recipes, digits(), on_epoch=on_epoch)
    assert [epoch for epoch, _ in told] == sorted(epoch for epoch, _ in told)
    assert sorted(told) == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 3)]


EXPLODING = {"optimizer": "sgd", "lr": 10.0, "weight_decay": 1.0, "batch_size": 8, "epochs": 5, "warmup": 0.0}


@pytest.mark.parametrize("shape", [{}, {"head": (12,)}], ids=["linear", "hidden"])
def test_a_head_that_explodes_ends_as_in_the_loop_and_costs_the_others_nothing(
    shape: dict[str, Any], tmp_path: Path
) -> None:
    recipes = [
        recipe(**{**EXPLODING, **shape, "lr": lr, "weight_decay": decay})
        for lr, decay in ((0.1, 0.0), (10.0, 1.0), (0.05, 0.01))
    ]
    results = together(recipes, digits())
    assert [result.status for result in results] == [RunStatus.COMPLETED, RunStatus.DIVERGED, RunStatus.COMPLETED]
    for number in (0, 2):
        assert_same(results[number], alone(recipes[number], digits(), tmp_path / str(number)))
    with np.errstate(all="ignore"):
        single = alone(recipes[1], digits(), tmp_path / "1")
    assert results[1].reason == single.outcome.reason
    assert results[1].best_epoch == single.outcome.best_epoch
    assert len(results[1].loss) == len(single.steps)  # the step that died is told too
    assert not math.isfinite(results[1].loss[-1])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_head_that_is_no_number_from_the_start_changes_nothing_in_its_neighbours(
    value: float, optimizer: str
) -> None:
    recipes = [recipe(optimizer=optimizer, weight_decay=decay) for decay in (0.0, 0.1, 0.2)]

    def build(how: Recipe) -> nn.Module:
        head = head_for(digits())(how)
        if how is recipes[1]:
            with torch.no_grad():
                next(head.parameters())[0, 20] = value  # a pixel that is inked in most digits
        return head

    sound = together(recipes, digits())
    results = together(recipes, digits(), build)
    bad = results[1]
    assert (bad.status, bad.reason) == (RunStatus.DIVERGED, "the loss became nan at step 1 (epoch 1)")
    assert (bad.best_epoch, bad.best_score, bad.best_valid, bad.best_state) == (None, None, {}, {})
    assert (bad.epochs, len(bad.loss), bad.steps_per_epoch) == ((), 1, 7)
    for number in (0, 2):
        one, other = results[number], sound[number]
        assert one.loss.tolist() == pytest.approx(other.loss.tolist())
        assert one.best_valid == pytest.approx(other.best_valid)
        assert all(torch.allclose(tensor, other.best_state[name]) for name, tensor in one.best_state.items())


def test_validation_that_gives_no_number_is_never_the_best() -> None:
    data = digits()
    assert data.valid is not None
    features, labels = data.valid[0].clone(), data.valid[1]
    features[3, 5] = math.nan
    [result] = together([recipe(patience=2)], replace(data, valid=(features, labels)))
    assert (result.reason, result.best_epoch, result.best_state) == ("no better accuracy in 2 epochs", None, {})
    assert all(math.isnan(epoch.valid["accuracy"]) for epoch in result.epochs)


def test_a_reason_ends_that_head_alone(alone_once: Callable[[str], Alone]) -> None:
    def on_epoch(number: int, record: EpochRecord) -> str:
        return "worse than the others" if (number, record.epoch) == (1, 2) else ""

    results = together([recipe(), recipe(lr=0.001), recipe()], digits(), on_epoch=on_epoch)
    ended = results[1]
    assert (ended.status, ended.reason) == (RunStatus.STOPPED_EARLY, "worse than the others")
    assert ended.stopped == "worse than the others"
    assert (len(ended.epochs), len(ended.loss), ended.best_epoch in (1, 2)) == (2, 14, True)
    for index in (0, 2):
        assert results[index].stopped == ""
        assert_same(results[index], alone_once("as it comes"))


def test_after_the_last_epoch_there_is_nothing_left_to_stop(alone_once: Callable[[str], Alone]) -> None:
    results = together([recipe()], digits(), on_epoch=lambda _, record: "too late" if record.epoch == 3 else "")
    assert results[0].stopped == ""
    assert_same(results[0], alone_once("as it comes"))


@pytest.mark.parametrize("epochs", [3, 30], ids=["in the last epoch", "before it"])
def test_patience_ends_a_head_in_the_words_of_the_loop(epochs: int, tmp_path: Path) -> None:
    """It learns the noise by heart: the loss on other noise only rises."""
    settings = {"epochs": epochs, "patience": 2, "lr": 0.1, "schedule": "constant", "monitor": "loss"}
    single = alone(recipe(**settings), similar(), tmp_path)
    results = together([recipe(**settings), recipe(patience=3)], similar())
    assert (single.outcome.reason, len(single.epochs)) == ("no better loss in 2 epochs", 3)
    assert results[0].status is RunStatus.STOPPED_EARLY
    assert results[0].stopped == ""
    assert_same(results[0], single)
    assert results[1].status is RunStatus.COMPLETED


def test_interrupted_ends_all_with_what_there_is() -> None:
    asked = iter(["", "", "stopped by SIGINT"])
    [short, one, other] = together(
        [recipe(epochs=1), recipe(), recipe(seed=1)], digits(), interrupted=lambda: next(asked)
    )
    assert (short.status, short.reason) == (RunStatus.COMPLETED, "")
    for result in (one, other):
        assert (result.status, result.reason) == (RunStatus.INTERRUPTED, "stopped by SIGINT")
        assert (result.stopped, len(result.epochs), len(result.loss)) == ("", 2, 14)
        assert result.best_epoch in (1, 2)
        assert result.best_state


def test_interrupted_before_the_first_epoch_there_is_nothing() -> None:
    [result] = together([recipe()], digits(), interrupted=lambda: "stopped by SIGINT")
    assert (result.status, result.epochs, len(result.loss)) == (RunStatus.INTERRUPTED, (), 0)
    assert (result.best_epoch, result.best_state, result.steps_per_epoch) == (None, {}, 0)


def test_no_heads_no_results() -> None:
    assert together([], digits(), interrupted=lambda: pytest.fail("there is nothing to interrupt")) == []


def test_the_best_state_is_a_copy() -> None:
    """It shares no memory with the caller's modules, nor with what other heads or later epochs change."""
    modules: list[nn.Module] = []

    def build(how: Recipe) -> nn.Module:
        modules.append(head_for(digits())(how))
        return modules[-1]

    before = head_for(digits())(recipe()).state_dict()
    results = together([recipe(), recipe(lr=0.1)], digits(), build)
    assert all(torch.equal(tensor, before[name]) for module in modules for name, tensor in module.state_dict().items())
    places = {t.untyped_storage().data_ptr() for result in results for t in result.best_state.values()}
    assert len(places) == 4


def test_the_shares_of_the_time_add_up() -> None:
    began = time.monotonic()
    results = together([recipe(), recipe(epochs=1), recipe(batch_size=50)], digits())
    assert 0 < sum(result.seconds for result in results) <= time.monotonic() - began
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
def test_threads_are_put_back() -> None:
    inside: list[int] = []

    def on_epoch(*_: object) -> str:
        inside.append(torch.get_num_threads())
        return ""

    together([recipe(epochs=1)], digits(), on_epoch=on_epoch)
    assert (inside, torch.get_num_threads()) == ([1], 2)

    def fails(*_: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([recipe(epochs=1)], digits(), on_epoch=fails)
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
def test_what_only_the_loop_can_do_is_refused(settings: dict[str, Any], start: str) -> None:
    with pytest.raises(BadValue) as caught:
        together([recipe(), recipe(**settings)], digits())
    assert str(caught.value) == f"{start}heads that train together cannot have it. Train this head alone."


def test_a_head_that_is_no_chain_of_linear_layers_is_refused() -> None:
    with pytest.raises(BadValue, match="head: a stack takes linear layers with ReLU and dropout between, not Conv2d"):
        together([recipe()], digits(), lambda _: nn.Conv2d(3, 4, 3))


def test_features_that_are_maps_are_refused() -> None:
    maps = replace(digits(), views=digits().views.view(1, TRAIN, 8, 8))
    with pytest.raises(BadShape, match=r"a stack takes \(views, images, features\), not \(1, 200, 8, 8\)"):
        together([recipe()], maps)


def test_the_data_is_left_as_it_was() -> None:
    """And may be read-only."""
    data = digits(views=2)
    labels = data.labels.copy()
    labels.flags.writeable = False
    data = replace(data, labels=labels)
    before, valid = data.views.clone(), data.valid[0].clone()  # type: ignore[index]
    together([recipe(), recipe(head=(12,)), recipe(dropout=0.5)], data)
    assert torch.equal(data.views, before)
    assert torch.equal(data.valid[0], valid)  # type: ignore[index]


def test_rates_fall_where_they_should() -> None:
    [result] = together([recipe(epochs=4, schedule="step", step_size=2, gamma=0.1, warmup=0.0)], digits())
    assert result.steps_per_epoch == 7
    assert result.lr.tolist() == pytest.approx([0.01] * 14 + [0.001] * 14)
    [result] = together([recipe(schedule="cosine", warmup=0.0)], digits())
    assert all(now < before for before, now in pairwise(result.lr.tolist()))
