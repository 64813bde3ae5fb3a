"""LossInputMismatch: a loss that does not get what it is made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.loss_input_mismatch import LossInputMismatch
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only
from clearsight.testing.tapes import falling, flat, prediction_record, tape
from tests.debugger.rules.runs import CHANCE, batches, facts, with_predictions

STEPS = 40


def rule() -> LossInputMismatch:
    return LossInputMismatch()


def run(loss: Any = None, context: dict[str, Any] | None = None, **counts: Any) -> Tape:
    known = {"backwards": STEPS, "steps": STEPS, "loss_checks": 9, "loss_factor": 1.0, "width": 10, "highest_label": 9}
    loop = LoopInfo(**{**known, **counts})
    losses = batches(falling(CHANCE, 0.7, STEPS)) if loss is None else loss
    more = {"loss": "CrossEntropyLoss", "optimizer": "sgd", **(context or {})}
    return tape(loss=losses, context=facts(loop=loop, **more))


def fault() -> Tape:
    return run(loss_faults={"nll_on_logits": 9})


def control() -> Tape:
    return run()


def test_wrong_inputs_are_severe() -> None:
    finding = only(rule(), fault())
    assert (finding.verdict, finding.severity) == (Verdict.FOUND, Severity.SEVERE)
    assert "in 9 of 9 checked losses" in finding.cause


def test_a_single_odd_batch_decides_nothing() -> None:
    assert only(rule(), run(loss_faults={"nll_on_logits": 1})).verdict is Verdict.CLEAR


def test_labels_that_torch_refuses_need_one_call() -> None:
    finding = only(rule(), run(loss_checks=1, loss_faults={"labels_outside": 1}))
    assert "torch refused the call" in finding.cause


def test_a_loss_below_0_that_cannot_be_is_found_and_another_may_be() -> None:
    assert "cannot be negative" in only(rule(), run(loss=flat(-0.5, STEPS))).cause
    assert only(rule(), run(loss=flat(-0.5, STEPS), context={"loss": "ArcFace"})).verdict is Verdict.CLEAR


@pytest.mark.parametrize(
    ("counts", "optimizer", "severity"),
    [
        ({"loss_factor": 1 / 16}, "sgd", Severity.WARNING),
        ({"loss_factor": 1 / 12, "loader_batches": 12}, "sgd", Severity.WARNING),
        ({"loss_factor": 1 / 16}, "adamw", Severity.INFO),
        ({"loss_factor": -1.0}, "adamw", Severity.SEVERE),
    ],
)
def test_a_factor_of_the_loss_is_judged_by_its_harm(counts: dict[str, Any], optimizer: str, severity: Severity) -> None:
    assert only(rule(), run(context={"optimizer": optimizer}, **counts)).severity is severity


@pytest.mark.parametrize(
    "counts",
    [
        {"loss_factor": 65536.0},  # of a gradient scaler
        {"loss_factor": 0.3},  # of a weighted sum
        {"loss_factor": 1 / 16, "steps": STEPS // 16},  # of accumulated batches
    ],
)
def test_a_factor_on_purpose_is_clear(counts: dict[str, Any]) -> None:
    assert only(rule(), run(**counts)).verdict is Verdict.CLEAR


@pytest.mark.parametrize(
    ("rate", "factor", "verdict"), [(0.01, 1.0, "found"), (0.001, 1.0, "clear"), (0.01, 1 / 8, "clear")]
)
def test_losses_of_accumulated_batches_are_averaged_or_the_rate_is_small(
    rate: float, factor: float, verdict: str
) -> None:
    saved = run(context={"lr": rate}, loss_factor=factor, backwards=8 * STEPS, steps=STEPS)
    found = only(rule(), saved)
    assert found.verdict.value == verdict
    assert ("the losses of 8 batches are added up" in found.cause) == (verdict == "found")


def test_outputs_for_far_more_classes_than_labels_are_found() -> None:
    wide = with_predictions(run(width=1000), flat(2.0, STEPS))
    some = with_predictions(run(width=12), flat(2.0, STEPS))
    assert "1000 outputs" in only(rule(), wide).cause
    assert only(rule(), some).verdict is Verdict.CLEAR


def test_labels_that_only_validation_has_do_not_call_for_fewer_outputs() -> None:
    merged = with_predictions(run(width=1000, highest_label=1), flat(2.0, STEPS))
    merged.add(prediction_record([*range(600)], [*range(600)], mode="eval"))
    assert only(rule(), merged).verdict is Verdict.CLEAR


@pytest.mark.parametrize(
    ("losses", "level", "expected"),
    [
        (-falling(1000.0, 0.0, STEPS)[::-1], CHANCE, "found"),  # without a lower end
        (np.append(flat(2.0, STEPS - 1), np.inf), CHANCE, "found"),
        (falling(CHANCE, 0.7, STEPS), 0.2, "clear"),  # made for labels first
        (-falling(1000.0, 0.0, STEPS)[::-1], 0.2, "clear"),  # a density, beside a network that learns
        (flat(CHANCE, STEPS), CHANCE, "clear"),  # it does not learn, for another reason
    ],
    ids=["falls for ever", "not finite", "learns", "density", "level"],
)
def test_labels_first_in_a_loss_of_another_library(losses: Any, level: float, expected: str) -> None:
    saved = with_predictions(
        run(losses, context={"loss": "OwnLoss"}, loss_faults={"own_swapped": 9}), flat(level, STEPS)
    )
    finding = only(rule(), saved)
    assert finding.verdict.value == expected
    assert ("gets the labels first" in finding.cause) == (expected == "found")
