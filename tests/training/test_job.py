"""Positions of a training as checkpoints store them; best epoch and patience by one rule for loop and stacks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest

from clearsight.core.recipe import Recipe, TrainSection
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.job import EpochSelection, EpochTotals, TrainingPosition
from clearsight.training.paired_gain import PairedGain

# "position" of a checkpoint that the version before the redesign wrote in the middle of an epoch.
EARLIER = (
    '{"epoch": 3, "batch": 2, "step": 12, "phase_step": 12, "best_epoch": 2, "best_score": [0.8, -0.7], '
    '"best_valid": {"loss": 0.7, "accuracy": 0.8, "macro_f1": 0.8}, "stale": 0, "loss": 12.5, "right": 11.0, '
    '"samples": 16.0}'
)


def test_a_position_of_an_earlier_version_is_read_and_written_unchanged() -> None:
    position = TrainingPosition.from_json(json.loads(EARLIER))
    assert position == TrainingPosition(
        epoch=3,
        batch=2,
        step=12,
        phase_step=12,
        selection=EpochSelection(2, (0.8, -0.7), {"loss": 0.7, "accuracy": 0.8, "macro_f1": 0.8}),
        totals=EpochTotals(12.5, 11.0, 16.0),
    )
    assert json.dumps(position.to_json()) == EARLIER


def test_the_next_epoch_begins_with_its_first_batch_and_empty_totals() -> None:
    position = TrainingPosition(epoch=2, batch=5, step=10, phase_step=10, totals=EpochTotals(1.0, 2.0, 3.0))
    position.begin_epoch()
    assert position == TrainingPosition(epoch=3, step=10, phase_step=10)


def test_scores_of_an_epoch_are_means_over_its_images() -> None:
    assert EpochTotals(loss=8.0, correct=3.0, samples=4.0).scores() == {"loss": 2.0, "accuracy": 0.75}


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


def gain(value: float, error: float = 0.04) -> PairedGain:
    return PairedGain(score="accuracy", value=value, error=error, images=100)


# The head's best epoch has an accuracy of 0.7; each case is the accuracies of the epochs after it.
@pytest.mark.parametrize(
    ("accuracies", "best", "noted"),
    [
        ([0.73, 0.72], 1, 0.03),  # more, but not by more than 0.04
        ([0.65, 0.68], 1, -0.02),  # the better of the two, for the sentence
        ([0.72, 0.75, 0.73], 3, 0.05),
        ([0.75, 0.78], 3, 0.08),
    ],
)
def test_an_epoch_that_needs_a_clear_gain(accuracies: list[float], best: int, noted: float) -> None:
    state = selection(scores(0.7, 1.0))
    for epoch, accuracy in enumerate(accuracies, start=2):
        state.add(epoch, scores(accuracy, 1.0), "accuracy", gain(accuracy - 0.7))
    assert state.best_epoch == best
    assert state.gain is not None
    assert state.gain.value == pytest.approx(noted)
    assert state.is_gain_used == (best > 1)
    assert EpochSelection.from_json(json.loads(json.dumps(state.to_json()))) == state


def test_an_unclear_gain_does_not_replace_a_clear_one() -> None:
    state = selection(scores(0.7, 1.0))
    state.add(2, scores(0.75, 1.0), "accuracy", gain(0.05))
    assert not state.add(3, scores(0.76, 1.0), "accuracy", gain(0.06, error=0.07))
    assert (state.best_epoch, state.gain, state.is_gain_used) == (2, gain(0.05), True)


def test_a_clear_gain_over_the_last_epoch_must_be_better_than_the_best_one_too() -> None:
    state = selection(scores(0.8, 1.0), scores(0.7, 1.0))
    assert not state.add(3, scores(0.78, 1.0), "accuracy", gain(0.08))
    assert (state.best_epoch, state.gain, state.is_gain_used) == (1, gain(0.08), False)
    assert not state.add(4, scores(0.81, 1.0), "accuracy", gain(0.11, error=0.2))
    assert (state.best_epoch, state.gain_epoch, state.is_gain_used) == (1, 4, False)
    assert state.add(5, scores(0.81, 0.9), "accuracy", gain(0.11))
    assert (state.best_epoch, state.gain_epoch, state.is_gain_used) == (5, 5, True)


def test_progress_without_a_clear_gain_is_progress_for_patience() -> None:
    state, stale = selection(scores(0.7, 1.0)), []
    for epoch, accuracy in enumerate((0.5, 0.6, 0.55, 0.71), start=2):
        state.add(epoch, scores(accuracy, 1.0), "accuracy", gain(accuracy - 0.7))
        stale.append(state.stale)
    assert stale == [0, 0, 1, 0]
