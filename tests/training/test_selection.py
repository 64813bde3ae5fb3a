"""The best epoch and the end of patience, by one rule for the loop and for stacked heads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest

from clearsight.core.recipe import Recipe, TrainSection
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.selection import EpochSelection

NAN_SCORES: dict[str, float] = {"loss": math.nan, "accuracy": math.nan, "macro_f1": math.nan}


def scores(accuracy: float, loss: float, **more: float) -> dict[str, float]:
    return {"loss": loss, "accuracy": accuracy, "macro_f1": accuracy / 2, **more}


def selection(*valid: Mapping[str, float], monitor: str = "accuracy") -> EpochSelection:
    """The selection after epochs with these validation scores."""
    state = EpochSelection()
    for epoch, epoch_scores in enumerate(valid, start=1):
        state.add(epoch, epoch_scores, monitor)
    return state


def train_section(**settings: object) -> TrainSection:
    return Recipe().replace(**settings).train


BEST: dict[str, tuple[list[dict[str, float]], str, int]] = {
    "the higher accuracy": ([scores(0.5, 1.0), scores(0.7, 1.1), scores(0.6, 0.9)], "accuracy", 2),
    "at equal accuracy the smaller loss": ([scores(0.5, 1.0), scores(0.5, 0.9), scores(0.5, 0.95)], "accuracy", 2),
    "a tie keeps the first": ([scores(0.5, 1.0), scores(0.5, 1.0), scores(0.5, 1.0)], "accuracy", 1),
    "a tie in the loss keeps the first": ([scores(0.5, 1.0), scores(0.6, 1.0)], "loss", 1),
    "the smaller loss, if monitored": ([scores(0.5, 1.0), scores(0.4, 0.8), scores(0.9, 0.9)], "loss", 2),
    "the higher macro_f1, if monitored": ([scores(0.5, 1.0), scores(0.9, 1.0, macro_f1=0.1)], "macro_f1", 1),
    "accuracy, if there is no such score": ([scores(0.5, 1.0), scores(0.6, 1.0)], "roc_auc", 2),
    "NaN is never the best": ([NAN_SCORES, scores(0.1, 3.0), NAN_SCORES], "accuracy", 2),
    "none, if all are NaN": ([NAN_SCORES, NAN_SCORES], "accuracy", 0),
    "the last without validation": ([{}, {}, {}], "accuracy", 3),
}


@pytest.mark.parametrize(("valid", "monitor", "best"), BEST.values(), ids=BEST)
def test_the_best_epoch(valid: list[dict[str, float]], monitor: str, best: int) -> None:
    state = selection(*valid, monitor=monitor)
    assert state.best_epoch == best
    assert state.best_valid == (valid[best - 1] if best else {})
    assert state.stale == len(valid) - best


def test_add_returns_true_for_each_new_best_epoch() -> None:
    state = EpochSelection()
    assert [state.add(epoch, scores(value, 1.0), "accuracy") for epoch, value in enumerate((0.5, 0.4, 0.5, 0.6))] == [
        *(True, False, False, True)
    ]


def test_patience_counts_epochs_since_the_last_better_one() -> None:
    section = train_section(patience=2, monitor="macro_f1")
    assert selection(scores(0.5, 1.0), scores(0.4, 1.0), monitor="macro_f1").patience_stop(section) is None
    stop = selection(scores(0.5, 1.0), scores(0.4, 1.0), scores(0.5, 1.0), monitor="macro_f1").patience_stop(section)
    assert stop == StopReason(StopKind.PATIENCE, "no better macro_f1 in 2 epochs")


def test_without_patience_there_is_no_reason_to_stop() -> None:
    assert EpochSelection(stale=1000).patience_stop(train_section()) is None


@pytest.mark.parametrize("valid", [[scores(0.5, 1.0), scores(0.4, 1.0)], [{}], []], ids=["scores", "no split", "new"])
def test_json_and_back(valid: list[dict[str, float]]) -> None:
    state = selection(*valid)
    assert EpochSelection.from_json(json.loads(json.dumps(state.to_json()))) == state
