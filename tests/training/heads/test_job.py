"""The training of one head, recorded as the loop records it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.heads.job import HeadEpoch, HeadProgress, StackedHead, finish

PRUNED = StopReason(StopKind.PRUNED, "worse than the others")


def scores(accuracy: float, loss: float) -> dict[str, float]:
    return {"loss": loss, "accuracy": accuracy, "macro_f1": accuracy / 2}


def head_epoch(valid: Mapping[str, float], *losses: float) -> HeadEpoch:
    steps = np.array(losses or (1.0, 0.5))
    return HeadEpoch(
        loss=steps,
        accuracy=np.full(len(steps), 0.5),
        lr=np.full(len(steps), 0.1),
        samples=np.array([32.0, 8.0]),
        valid=valid,
        seconds=0.1,
    )


def progress(*valid: Mapping[str, float], **settings: Any) -> HeadProgress:
    """A head with these validation scores, epoch by epoch."""
    recipe = Recipe().replace(**{"epochs": max(len(valid), 1), **settings})
    head = HeadProgress(StackedHead(number=3, recipe=recipe))
    for epoch_scores in valid:
        head.add(head_epoch(epoch_scores), dict, None)
    return head


def test_the_best_epoch_is_selected_by_the_rule_of_the_loop() -> None:
    """`tests/training/test_selection.py` specifies the rule."""
    result = progress(scores(0.5, 1.0), scores(0.7, 1.1), scores(0.7, 1.1)).result()
    assert (result.status, result.stop) == (RunStatus.COMPLETED, None)
    assert (result.best_epoch, result.best_score, result.best_valid) == (2, (0.7, -1.1), scores(0.7, 1.1))
    assert [record.best for record in result.epochs] == [True, True, False]


def test_no_epoch_is_the_best_if_all_scores_are_nan() -> None:
    result = progress(scores(math.nan, math.nan)).result()
    assert (result.status, result.best_epoch, result.best_valid) == (RunStatus.COMPLETED, None, {})


def test_an_epoch_counts_each_image_once() -> None:
    """Its last batch is smaller, and weighs less."""
    result = progress(scores(0.5, 1.0)).result()
    assert result.epochs[0].train == {"loss": pytest.approx((32 * 1.0 + 8 * 0.5) / 40), "accuracy": 0.5}
    assert (result.epochs[0].step, result.steps_per_epoch) == (2, 2)


@pytest.mark.parametrize(("value", "name"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_steps_after_a_loss_that_is_not_finite_are_left_out(value: float, name: str) -> None:
    announced: list[int] = []
    head = progress(scores(0.5, 1.0), epochs=4)
    head.add(head_epoch(scores(0.9, 0.1), value, 0.3), dict, lambda number, _: announced.append(number))
    result = head.result()
    assert result.status is RunStatus.DIVERGED
    assert result.stop == StopReason(StopKind.DIVERGED, f"the loss became {name} at step 3 (epoch 2)")
    assert (len(result.epochs), len(result.loss), len(result.lr), announced) == (1, 3, 3, [])
    assert (result.best_epoch, result.best_valid) == (1, scores(0.5, 1.0))
    assert result.seconds == pytest.approx(0.2)


def test_patience_ends_a_head() -> None:
    head = progress(scores(0.5, 1.0), scores(0.4, 1.0), epochs=5, patience=1)
    assert head.status is RunStatus.STOPPED_EARLY
    assert head.stop == StopReason(StopKind.PATIENCE, "no better accuracy in 1 epochs")


def test_a_reason_of_the_listener_comes_before_patience() -> None:
    head = progress(scores(0.5, 1.0), epochs=5, patience=1)
    head.add(head_epoch(scores(0.4, 1.0)), dict, lambda *_: PRUNED)
    assert (head.status, head.stop) == (RunStatus.STOPPED_EARLY, PRUNED)


def test_after_the_last_epoch_a_reason_stops_nothing() -> None:
    head = progress(epochs=1)
    head.add(head_epoch(scores(0.4, 1.0)), dict, lambda *_: PRUNED)
    assert (head.status, head.stop) == (RunStatus.COMPLETED, None)


def test_weights_are_copied_only_after_a_best_epoch() -> None:
    head, copied = progress(epochs=3), []
    for accuracy in (0.5, 0.4, 0.6):
        head.add(head_epoch(scores(accuracy, 1.0)), lambda value=accuracy: copied.append(value) or {}, None)  # type: ignore[misc]
    assert copied == [0.5, 0.6]


def test_heads_that_are_still_training_at_the_end_are_interrupted() -> None:
    stop = StopReason(StopKind.SIGNAL, "stopped by SIGINT")
    ended, running = progress(scores(0.5, 1.0)), progress(scores(0.5, 1.0), epochs=2)
    first, second = finish([ended, running], stop)
    assert (first.status, first.stop) == (RunStatus.COMPLETED, None)
    assert (second.status, second.stop) == (RunStatus.INTERRUPTED, stop)
