"""The course of one head: which epoch is its best, in the words and by the rule of the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.training.heads.job import StackedHead
from clearsight.training.heads.progress import HeadEpoch, HeadProgress

WORST: dict[str, float] = {"loss": math.nan, "accuracy": math.nan, "macro_f1": math.nan}


def scored(accuracy: float, loss: float, **more: float) -> dict[str, float]:
    return {"loss": loss, "accuracy": accuracy, "macro_f1": accuracy / 2, **more}


def seen(valid: Mapping[str, float], *losses: float) -> HeadEpoch:
    steps = np.array(losses or (1.0, 0.5))
    return HeadEpoch(
        loss=steps,
        accuracy=np.full(len(steps), 0.5),
        lr=np.full(len(steps), 0.1),
        samples=np.array([32.0, 8.0]),
        valid=valid,
        seconds=0.1,
    )


def course(*valid: Mapping[str, float], **settings: Any) -> HeadProgress:
    """A head that scored this epoch by epoch."""
    recipe = Recipe().replace(**{"epochs": len(valid), **settings})
    made = HeadProgress(StackedHead(number=3, recipe=recipe))
    for scores in valid:
        made.take(seen(scores), dict, None)
    return made


BEST: dict[str, tuple[list[dict[str, float]], str, int | None]] = {
    "more is better": ([scored(0.5, 1.0), scored(0.7, 1.1), scored(0.6, 0.9)], "accuracy", 2),
    "a tie goes to the smaller loss": ([scored(0.5, 1.0), scored(0.5, 0.9), scored(0.5, 0.95)], "accuracy", 2),
    "a full tie goes to the first": ([scored(0.5, 1.0), scored(0.5, 1.0)], "accuracy", 1),
    "the loss, where it is asked for": ([scored(0.5, 1.0), scored(0.4, 0.8), scored(0.9, 0.9)], "loss", 2),
    "macro_f1": ([scored(0.5, 1.0), scored(0.9, 1.0, macro_f1=0.1)], "macro_f1", 1),
    "accuracy, where there is no such score": ([scored(0.5, 1.0), scored(0.6, 1.0)], "roc_auc", 2),
    "no number is never the best": ([WORST, scored(0.1, 3.0), WORST], "accuracy", 2),
    "no number at all": ([WORST, WORST], "accuracy", None),
    "without validation the last": ([{}, {}, {}], "accuracy", 3),
}


@pytest.mark.parametrize(("valid", "monitor", "best"), BEST.values(), ids=BEST)
def test_the_best_epoch(valid: list[dict[str, float]], monitor: str, best: int | None) -> None:
    result = course(*valid, monitor=monitor).result()
    assert (result.status, result.best_epoch) == (RunStatus.COMPLETED, best)
    assert result.best_valid == (valid[best - 1] if best else {})


def test_an_epoch_counts_each_image_once() -> None:
    """Its last batch is smaller, and weighs less."""
    result = course(scored(0.5, 1.0)).result()
    assert result.epochs[0].train == {"loss": pytest.approx((32 * 1.0 + 8 * 0.5) / 40), "accuracy": 0.5}
    assert (result.epochs[0].step, result.steps_per_epoch) == (2, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_came_after_the_loss_was_no_number_is_not_told(value: float) -> None:
    told: list[int] = []
    made = course(scored(0.5, 1.0), epochs=4)
    made.take(seen(scored(0.9, 0.1), value, 0.3), dict, lambda number, _: told.append(number) or "")
    result = made.result()
    assert (result.status, result.reason) == (RunStatus.DIVERGED, f"the loss became {value} at step 3 (epoch 2)")
    assert (len(result.epochs), len(result.loss), len(result.lr), told) == (1, 3, 3, [])
    assert (result.best_epoch, result.best_valid) == (1, scored(0.5, 1.0))
    assert result.seconds == pytest.approx(0.2)


def test_a_reason_of_the_listener_goes_before_lost_patience() -> None:
    made = HeadProgress(StackedHead(number=3, recipe=Recipe().replace(epochs=5, patience=1)))
    made.take(seen(scored(0.5, 1.0)), dict, lambda *_: "")
    made.take(seen(scored(0.4, 1.0)), dict, lambda *_: "hopeless")
    assert (made.status, made.reason, made.stopped) == (RunStatus.STOPPED_EARLY, "hopeless", "hopeless")


def test_weights_are_asked_for_only_where_they_are_the_best() -> None:
    made, asked = HeadProgress(StackedHead(number=3, recipe=Recipe().replace(epochs=3))), []
    for accuracy in (0.5, 0.4, 0.6):
        made.take(seen(scored(accuracy, 1.0)), lambda value=accuracy: asked.append(value) or {}, None)  # type: ignore[misc]
    assert asked == [0.5, 0.6]
