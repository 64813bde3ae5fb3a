"""A trial that guesses a third into its training is given up; one that has learned anything is not."""

from __future__ import annotations

import math

import pytest

from clearsight.core.run import EpochRecord
from clearsight.workflow.hopeless import chance_level_reason

GUESSING = math.log(10)


def after(
    epoch: int,
    epochs: int = 12,
    *,
    loss: float | None = GUESSING,
    accuracy: float | None = 0.1,
    roc_auc: float | None = None,
) -> EpochRecord:
    train = {name: value for name, value in (("loss", loss), ("accuracy", accuracy)) if value is not None}
    return EpochRecord(
        epoch=epoch,
        epochs=epochs,
        step=epoch,
        lr=0.1,
        train=train,
        valid={} if roc_auc is None else {"roc_auc": roc_auc},
        images_per_second=1.0,
        data_share=0.0,
        seconds=1.0,
        best=False,
    )


def test_the_loss_and_the_accuracy_of_guessing() -> None:
    told = chance_level_reason(after(4, accuracy=0.11), 10)
    assert told == ("after 4 of 12 epochs it guesses: training loss 2.303, accuracy 0.110, where log 10 is 2.303")


def test_a_loss_far_above_that_of_guessing_is_no_guess() -> None:
    """A high rate makes it so, and whoever waits for the rate to fall may find the best trial of all."""
    assert chance_level_reason(after(4, loss=1.01 * GUESSING), 10) != ""
    assert chance_level_reason(after(4, loss=1.05 * GUESSING), 10) == ""
    assert chance_level_reason(after(4, loss=50.0), 10) == ""


def test_accuracy_above_chance_is_hope_whatever_the_loss() -> None:
    assert chance_level_reason(after(4, loss=5.0, accuracy=0.13), 10) == ""
    assert chance_level_reason(after(4, accuracy=0.12), 10) != ""  # within a fifth of chance it is chance


def test_a_loss_below_that_of_guessing_is_hope_whatever_the_accuracy() -> None:
    assert chance_level_reason(after(4, loss=0.97 * GUESSING), 10) == ""


def test_pictures_in_a_good_order_are_hope_whatever_they_are_called() -> None:
    guess = {"loss": math.log(2), "accuracy": 0.5}
    assert chance_level_reason(after(4, **guess, roc_auc=0.8), 2) == ""
    assert chance_level_reason(after(4, **guess, roc_auc=0.55), 2) != ""


@pytest.mark.parametrize(("epochs", "first"), [(4, 3), (9, 3), (12, 4), (13, 5), (30, 10)])
def test_not_before_a_third_and_not_before_three_epochs(epochs: int, first: int) -> None:
    assert [bool(chance_level_reason(after(epoch, epochs), 10)) for epoch in range(1, epochs)] == [
        epoch >= first for epoch in range(1, epochs)
    ]


@pytest.mark.parametrize("epochs", [1, 2, 3, 12])
def test_not_at_the_last_epoch_when_there_is_no_rest(epochs: int) -> None:
    assert chance_level_reason(after(epochs, epochs), 10) == ""


def test_what_is_not_known_is_not_held_against_it() -> None:
    assert chance_level_reason(after(4, loss=None), 10) == ""
    assert chance_level_reason(after(4, accuracy=None), 10) == ""


def test_two_classes_are_the_fewest_that_can_be_guessed() -> None:
    assert chance_level_reason(after(4, loss=math.log(2), accuracy=0.5), 1) == chance_level_reason(
        after(4, loss=math.log(2), accuracy=0.5), 2
    )
    assert "log 2 is 0.693" in chance_level_reason(after(4, loss=math.log(2), accuracy=0.5), 2)
