"""WorseFinalWeights: the weights at the end are those of a much worse epoch, or of none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import LoopInfo, WeightWrites
from clearsight.core.finding import Severity, Verdict
from clearsight.core.tensors import Moment, PredictionRecord
from clearsight.debugger.rules.worse_final_weights import WorseFinalWeights
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, tape
from tests.debugger.rules.runs import CHANCE, facts, only

PER_EPOCH, IMAGES = 10, 160
LOSSES, ACCURACIES = (1.7, 1.5, 1.2, 1.0, 1.1), (0.35, 0.45, 0.55, 0.62, 0.6)


def rule() -> WorseFinalWeights:
    return WorseFinalWeights()


def run(
    final: int | None,
    losses: Sequence[float] = LOSSES,
    accuracies: Sequence[float] = ACCURACIES,
    *,
    images: int = IMAGES,
    ended: bool = True,
    context: dict[str, Any] | None = None,
    **writes: Any,
) -> Tape:
    loop = LoopInfo(steps=PER_EPOCH * len(losses), writes=WeightWrites(checked=20, final=final, **writes))
    return tape(
        loss=falling(CHANCE, 0.5, PER_EPOCH * len(losses)),
        valid={"loss": losses, "accuracy": accuracies},
        context=facts(loop=loop, valid_size=images, **(context or {})),
        per_epoch=PER_EPOCH,
        ended=ended,
    )


def with_probabilities(saved: Tape, epoch: int, positive: Sequence[float], labels: Sequence[int]) -> None:
    """Add the predictions of two classes in an evaluation. positive: probability of class 1, one per image."""
    shares, truth = np.array(positive), np.array(labels)
    true = np.where(truth == 1, shares, 1 - shares)
    predicted = (shares > 0.5).astype(np.int64)
    at = Moment("eval", epoch * PER_EPOCH, epoch, epoch * PER_EPOCH)
    confidence = np.maximum(shares, 1 - shares).astype(np.float32)
    saved.add(PredictionRecord(at, truth, predicted, confidence, true.astype(np.float32), np.full(len(truth), -1)))


def fault() -> Tape:
    return run(PER_EPOCH)


def control() -> Tape:
    return run(4 * PER_EPOCH)


def test_the_weights_of_the_first_epoch_are_worse_than_the_best() -> None:
    finding = only(rule(), fault())
    assert (finding.verdict, finding.severity, finding.epoch) == (Verdict.FOUND, Severity.WARNING, 1)
    assert "epoch 4 1.00 and 62%" in finding.cause
    assert finding.value == pytest.approx(0.27)


def test_weights_from_before_the_training_are_severe() -> None:
    finding = only(rule(), run(0))
    assert finding.severity is Severity.SEVERE
    assert "of its 50 steps nothing is kept" in finding.cause


@pytest.mark.parametrize("start_evaluated", [True, False])
def test_pretrained_weights_may_be_kept_where_they_were_evaluated(start_evaluated: bool) -> None:
    saved = run(0, context={"pretrained": True}, start_evaluated=start_evaluated)
    assert only(rule(), saved).found is not start_evaluated


def test_a_loop_that_began_at_the_start_before_may_end_there() -> None:
    again = [run(0, returns=((20, 0),)), run(0, restarts=(20,), begun_again=True)]
    assert [only(rule(), saved).verdict for saved in again] == [Verdict.CLEAR] * 2


def test_the_best_by_loss_may_be_a_little_less_accurate() -> None:
    saved = run(30, losses=(1.5, 1.2, 1.0, 1.05, 1.1), accuracies=(0.4, 0.5, 0.55, 0.6, 0.62))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_the_best_by_accuracy_may_have_a_higher_loss() -> None:
    saved = run(50, losses=(1.5, 1.2, 1.0, 1.2, 1.6), accuracies=(0.4, 0.45, 0.5, 0.6, 0.7))
    assert only(rule(), saved).verdict is Verdict.CLEAR


@pytest.mark.parametrize(("images", "is_found"), [(40, False), (2000, True)])
def test_few_validation_images_tell_little(images: int, is_found: bool) -> None:
    saved = run(20, losses=(1.5, 1.3, 1.1), accuracies=(0.4, 0.5, 0.62), images=images)
    assert only(rule(), saved).found is is_found


def test_the_best_by_the_order_of_two_classes_may_be_less_accurate() -> None:
    labels = [0] * 140 + [1] * 20
    # The first epoch ranks all images right at a wrong threshold; the second says class 0 of all, in a random order.
    ranked = [*np.linspace(0.51, 0.6, 140), *np.linspace(0.7, 0.8, 20)]
    prior = list(np.random.default_rng(0).uniform(0.1, 0.2, 160))
    context = {"classes": ("benign", "malignant")}
    saved = run(10, losses=(0.9, 0.3), accuracies=(0.125, 0.875), context=context)
    with_probabilities(saved, 1, ranked, labels)
    with_probabilities(saved, 2, prior, labels)
    assert only(rule(), saved).verdict is Verdict.CLEAR
    better = run(10, losses=(0.9, 0.3), accuracies=(0.125, 0.875), context=context)
    with_probabilities(better, 1, list(1 - np.array(ranked)), labels)
    with_probabilities(better, 2, [*np.linspace(0.1, 0.6, 140), *np.linspace(0.55, 0.9, 20)], labels)
    assert only(rule(), better).found


def test_weights_of_the_last_step_or_of_no_epoch_are_clear() -> None:
    assert only(rule(), run(None)).verdict is Verdict.CLEAR


def test_an_earlier_training_is_not_compared() -> None:
    # Of a cross-validation: the fold before had other validation images.
    losses, accuracies = (1.0, 0.5, 1.6, 1.5), (0.6, 0.8, 0.4, 0.42)
    assert only(rule(), run(40, losses, accuracies, restarts=(20,))).verdict is Verdict.CLEAR
    assert only(rule(), run(40, losses, accuracies)).found


def test_nothing_is_said_before_the_end_or_without_evaluations() -> None:
    missing = [run(10, ended=False), run(10, LOSSES[:1], ACCURACIES[:1]), tape(loss=[1.0] * 20, context=facts())]
    assert [only(rule(), saved).verdict for saved in missing] == [Verdict.NOT_ENOUGH_DATA] * 3
