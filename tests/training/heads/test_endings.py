"""Endings of heads in a stack: divergence, a reason of the listener, patience, an interruption."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopKind, StopReason
from tests.training.stacks import (
    LoopRun,
    assert_same,
    digits,
    head_for,
    recipe,
    similar,
    train_alone,
    train_together,
)

DIVERGING = {"optimizer": "sgd", "lr": 10.0, "weight_decay": 1.0, "batch_size": 8, "epochs": 5, "warmup": 0.0}


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> LoopRun:
    """A head with the default settings, trained by the loop."""
    return train_alone(recipe(), digits(), tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("shape", [{}, {"head": (12,)}], ids=["linear", "hidden"])
def test_a_head_that_diverges_ends_as_in_the_loop_and_does_not_change_the_others(
    shape: dict[str, Any], tmp_path: Path
) -> None:
    recipes = [
        recipe(**{**DIVERGING, **shape, "lr": lr, "weight_decay": decay})
        for lr, decay in ((0.1, 0.0), (10.0, 1.0), (0.05, 0.01))
    ]
    results = train_together(recipes, digits())
    assert [result.status for result in results] == [RunStatus.COMPLETED, RunStatus.DIVERGED, RunStatus.COMPLETED]
    for number in (0, 2):
        assert_same(results[number], train_alone(recipes[number], digits(), tmp_path / str(number)))
    with np.errstate(all="ignore"):
        single = train_alone(recipes[1], digits(), tmp_path / "1")
    assert results[1].stop == single.outcome.stop
    assert results[1].best_epoch == single.outcome.best_epoch
    assert len(results[1].loss) == len(single.steps)  # the step with the NaN is announced too
    assert not math.isfinite(results[1].loss[-1])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_head_that_is_nan_from_the_start_does_not_change_the_others(value: float, optimizer: str) -> None:
    recipes = [recipe(optimizer=optimizer, weight_decay=decay) for decay in (0.0, 0.1, 0.2)]

    def build(head_recipe: Recipe) -> nn.Module:
        head = head_for(digits())(head_recipe)
        if head_recipe is recipes[1]:
            with torch.no_grad():
                next(head.parameters())[0, 20] = value  # a pixel that is inked in most digits
        return head

    sound = train_together(recipes, digits())
    results = train_together(recipes, digits(), build)
    bad = results[1]
    assert bad.stop == StopReason(StopKind.DIVERGED, "the loss became NaN at step 1 (epoch 1)")
    assert (bad.best_epoch, bad.best_score, bad.best_valid, bad.best_state) == (None, None, {}, {})
    assert (bad.epochs, len(bad.loss), bad.steps_per_epoch) == ((), 1, 7)
    for number in (0, 2):
        result, expected = results[number], sound[number]
        assert result.loss.tolist() == pytest.approx(expected.loss.tolist())
        assert result.best_valid == pytest.approx(expected.best_valid)
        assert all(torch.allclose(tensor, expected.best_state[name]) for name, tensor in result.best_state.items())


def test_an_epoch_with_nan_scores_is_never_the_best() -> None:
    data = digits()
    assert data.valid is not None
    features, labels = data.valid[0].clone(), data.valid[1]
    features[3, 5] = math.nan
    [result] = train_together([recipe(patience=2)], replace(data, valid=(features, labels)))
    assert result.stop == StopReason(StopKind.PATIENCE, "no better accuracy in 2 epochs")
    assert (result.best_epoch, result.best_state) == (None, {})
    assert all(math.isnan(epoch.valid["accuracy"]) for epoch in result.epochs)


def test_a_reason_ends_that_head_alone(single: LoopRun) -> None:
    worse = StopReason(StopKind.PRUNED, "worse than the others")

    def on_epoch(number: int, record: EpochRecord) -> StopReason | None:
        return worse if (number, record.epoch) == (1, 2) else None

    results = train_together([recipe(), recipe(lr=0.001), recipe()], digits(), on_epoch=on_epoch)
    ended = results[1]
    assert (ended.status, ended.stop) == (RunStatus.STOPPED_EARLY, worse)
    assert (len(ended.epochs), len(ended.loss), ended.best_epoch in (1, 2)) == (2, 14, True)
    for index in (0, 2):
        assert results[index].stop is None
        assert_same(results[index], single)


def test_after_the_last_epoch_there_is_nothing_left_to_stop(single: LoopRun) -> None:
    late = StopReason(StopKind.PRUNED, "too late")
    results = train_together([recipe()], digits(), on_epoch=lambda _, record: late if record.epoch == 3 else None)
    assert results[0].stop is None
    assert_same(results[0], single)


@pytest.mark.parametrize("epochs", [3, 30], ids=["in the last epoch", "before it"])
def test_patience_ends_a_head_with_the_reason_of_the_loop(epochs: int, tmp_path: Path) -> None:
    """It learns the noise by heart: the loss on other noise only rises."""
    settings = {"epochs": epochs, "patience": 2, "lr": 0.1, "schedule": "constant", "monitor": "loss"}
    single = train_alone(recipe(**settings), similar(), tmp_path)
    results = train_together([recipe(**settings), recipe(patience=3)], similar())
    assert single.outcome.stop == StopReason(StopKind.PATIENCE, "no better loss in 2 epochs")
    assert len(single.epochs) == 3
    assert results[0].status is RunStatus.STOPPED_EARLY
    assert_same(results[0], single)
    assert results[1].status is RunStatus.COMPLETED


def test_an_interruption_ends_all_heads_with_their_results_so_far() -> None:
    signal = StopReason(StopKind.SIGNAL, "stopped by SIGINT")
    reasons = iter([None, None, signal])
    [short, first, second] = train_together(
        [recipe(epochs=1), recipe(), recipe(seed=1)], digits(), interrupted=lambda: next(reasons)
    )
    assert (short.status, short.stop) == (RunStatus.COMPLETED, None)
    for result in (first, second):
        assert (result.status, result.stop) == (RunStatus.INTERRUPTED, signal)
        assert (len(result.epochs), len(result.loss)) == (2, 14)
        assert result.best_epoch in (1, 2)
        assert result.best_state


def test_an_interruption_before_the_first_epoch_leaves_no_results() -> None:
    [result] = train_together(
        [recipe()], digits(), interrupted=lambda: StopReason(StopKind.SIGNAL, "stopped by SIGINT")
    )
    assert (result.status, result.epochs, len(result.loss)) == (RunStatus.INTERRUPTED, (), 0)
    assert (result.best_epoch, result.best_state, result.steps_per_epoch) == (None, {}, 0)


def test_no_heads_no_results() -> None:
    assert train_together([], digits(), interrupted=lambda: pytest.fail("there is nothing to interrupt")) == []
