"""LossOnProbabilities: a softmax before a loss that applies one itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.tensors import Moment, PredictionRecord, RawTensor, Scalars
from clearsight.debugger.rules.loss_on_probabilities import LossOnProbabilities
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict

PROBABILITIES, LOGITS = (1e-4, 0.97, 1.0, 1e-7), (-4.2, 6.1, 0.8, 3.1)  # least, most, mean and spread of a row's sum
CLASSES = tuple("abcdefghij")


def run(*ranges: tuple[float, ...], loss: str = "CrossEntropyLoss", second_softmax: bool = True) -> Tape:
    """Return a run whose saved batches had outputs of these ranges. second_softmax: True if the loss applies one."""
    result = Tape(RunContext(loss=loss, classes=CLASSES), ended=True)
    for place, values in enumerate(ranges):
        step = max(1, 5 * place)
        at = Moment("train", step, 1 + place // 4, step)
        right = np.array([0.9, 0.6, 0.2, 0.1])  # the probability that the model gave to the label
        twice = np.exp(right) / (np.exp(right) + 9 * np.exp((1 - right) / 9))
        curves = -np.log(twice if second_softmax else right).mean()
        result.add(Scalars(at, {"loss": float(curves)}))
        label = np.zeros(4, np.int64)
        result.add(PredictionRecord(at, label, label, twice.astype(np.float32), twice.astype(np.float32), label - 1))
        result.add(RawTensor(at, "output_range", "outputs", np.array(values, np.float32)))
    return result


def rule() -> LossOnProbabilities:
    return LossOnProbabilities()


def fault() -> Tape:
    return run(*[PROBABILITIES] * 6)


def control() -> Tape:
    return run(*[LOGITS] * 6)


def test_found_when_every_row_sums_to_one() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.steps == (1, 25)
    assert "CrossEntropyLoss applies the softmax again" in found.cause
    assert "softmax" in found.advice
    assert found.fix == {}


def test_says_how_low_the_loss_can_get() -> None:
    assert f"{math.log(math.e + 9) - 1:.3g}" in only(rule(), fault()).cause


def test_half_precision_rounds_and_is_found_too() -> None:
    assert verdict(rule(), run(*[(0.0, 1.0, 1.002, 0.003)] * 4)) == "found"


def test_clear_of_logits() -> None:
    assert verdict(rule(), control()) == "clear"


def test_one_batch_that_sums_to_one_by_chance_changes_nothing() -> None:
    assert verdict(rule(), run(LOGITS, PROBABILITIES, LOGITS, LOGITS)) == "clear"


def test_log_probabilities_are_fine_for_a_negative_log_likelihood() -> None:
    assert verdict(rule(), run(*[(-9.0, -0.01, -40.0, 5.0)] * 4, loss="NLLLoss")) == "clear"


def test_probabilities_are_wrong_for_a_negative_log_likelihood() -> None:
    found = only(rule(), run(*[PROBABILITIES] * 4, loss="NLLLoss"))
    assert found.found
    assert "logarithms" in found.cause


@pytest.mark.parametrize("loss", ["MSELoss", "binary_cross_entropy", ""])
def test_a_loss_of_another_kind_may_have_probabilities(loss: str) -> None:
    assert verdict(rule(), run(*[PROBABILITIES] * 4, loss=loss, second_softmax=False)) == "clear"


def test_an_unknown_loss_is_found_out_by_its_values() -> None:
    assert verdict(rule(), run(*[PROBABILITIES] * 4, loss="", second_softmax=True)) == "found"


def test_an_unknown_loss_without_values_cannot_be_judged() -> None:
    bare = Tape(RunContext(), [r for r in run(*[PROBABILITIES] * 4, loss="").records if isinstance(r, RawTensor)])
    assert verdict(rule(), bare) == "not-enough-data"


def test_sums_of_one_with_negative_outputs_are_logits() -> None:
    assert verdict(rule(), run(*[(-0.5, 0.9, 1.0, 1e-6)] * 4)) == "clear"


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run(PROBABILITIES)).points
    assert points is not None
    assert (points.have, points.want) == (1, 3)


def test_batches_that_are_not_finite_do_not_count() -> None:
    lost = (float("nan"),) * 4
    assert verdict(rule(), run(lost, lost, PROBABILITIES)) == "not-enough-data"
    assert verdict(rule(), run(lost, *[PROBABILITIES] * 3)) == "found"
