"""The decisions about a second phase: left out where the head is good enough, used only with a clear gain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.core.events import RunStatus
from clearsight.training.job import TrainingResult
from clearsight.training.paired_gain import PairedGain
from clearsight.workflow.prepare.second_phase import (
    ENOUGH_ERRORS,
    avoided_errors,
    choice_sentence,
    reason_against,
    second_phase_sentence,
)

PHASES: Any = [SimpleNamespace(name="head"), SimpleNamespace(name="all")]


def gain(images: int, error: float, score: str = "accuracy") -> PairedGain:
    """Return a gain of so many of 108 validation images."""
    return PairedGain(score=score, value=images / 108, error=error / 108, images=108)


def result(status: RunStatus = RunStatus.COMPLETED, **fields: Any) -> TrainingResult:
    return TrainingResult(status=status, stop=None, best_epoch=3, valid={}, images_per_second=None, **fields)


@pytest.mark.parametrize(
    ("accuracy", "largest_share", "avoided"),
    [(1.0, 0.5, 1.0), (0.75, 0.5, 0.5), (0.5, 0.5, 0.0), (0.95, 0.95, 0.0), (0.9, 0.1, 8 / 9), (1.0, 1.0, 1.0)],
)
def test_avoided_errors_do_not_depend_on_how_uneven_the_classes_are(
    accuracy: float, largest_share: float, avoided: float
) -> None:
    assert avoided_errors(accuracy, largest_share) == pytest.approx(avoided)


@pytest.mark.parametrize("largest_share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("images", [400, 700, 10_000])
def test_the_second_phase_needs_errors_to_learn_from(images: int, largest_share: float) -> None:
    limit = 1 - ENOUGH_ERRORS / images * (1 - largest_share)
    assert reason_against("all", images, largest_share, {"accuracy": limit - 1e-6}) == ""
    assert reason_against("all", images, largest_share, {"accuracy": limit + 1e-3}) != ""


def test_the_reason_has_the_numbers_that_it_follows_from() -> None:
    assert reason_against("all", 612, 0.2, {"accuracy": 0.88}) == (
        "The head alone was trained, and not the whole network: with a validation accuracy of 0.880 it avoids 85 % of "
        "the errors of always naming the most frequent class. The rest, about 92 of 612 images, is too little to learn "
        "from (fewer than 200)."
    )


def test_without_validation_images_the_second_phase_is_trained() -> None:
    assert reason_against("all", 612, 0.0, {}) == ""


@pytest.mark.parametrize(
    ("found", "is_used", "sentence"),
    [
        (
            gain(9, 4.1),
            True,
            "The whole network was used: it is right on 9 of 108 validation images more than the head at its end, over "
            "the standard error of 4.1.",
        ),
        (
            gain(2, 3.2),
            False,
            "The head alone was kept, not the whole network: that is right on 2 of 108 validation images more than the "
            "head at its end, which is not over the standard error of 3.2.",
        ),
        (
            gain(-3, 3.2),
            False,
            "The head alone was kept, not the whole network: that is right on 3 of 108 validation images fewer than "
            "the head at its end, which is not over the standard error of 3.2.",
        ),
        (
            gain(5, 3.2),
            False,
            "The head alone was kept, not the whole network: that is right on 5 of 108 validation images more than the "
            "head at its end, but not better than the best epoch of the head.",
        ),
        (
            PairedGain(score="roc_auc", value=0.02, error=0.01, images=108),
            True,
            "The whole network was used: it is better by a validation roc_auc of 0.02 than the head at its end, over "
            "the standard error of 0.01.",
        ),
    ],
)
def test_the_sentence_says_by_how_much_and_how_sure(found: PairedGain, is_used: bool, sentence: str) -> None:
    assert choice_sentence("all", found, is_used=is_used) == sentence


def test_a_part_of_the_network_is_named() -> None:
    sentence = choice_sentence("from layer3", gain(9, 4.1), is_used=True)
    assert sentence.startswith("The network from layer3 on was used: ")


def test_a_run_says_what_was_decided_once_it_has_ended() -> None:
    assert second_phase_sentence(PHASES, result(left_out="Good enough.")) == "Good enough."
    for is_used in (True, False):
        expected = choice_sentence("all", gain(9, 4.1), is_used=is_used)
        assert second_phase_sentence(PHASES, result(gain=gain(9, 4.1), is_gain_used=is_used)) == expected
    assert second_phase_sentence(PHASES, result()) == ""
    for status in (RunStatus.INTERRUPTED, RunStatus.DIVERGED):
        assert second_phase_sentence(PHASES, result(status, gain=gain(9, 4.1))) == ""
    assert second_phase_sentence(PHASES, result(RunStatus.STOPPED_EARLY, gain=gain(9, 4.1)))
