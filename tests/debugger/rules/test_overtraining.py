"""Overtraining names the epoch at which to stop."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Verdict
from clearsight.debugger.rules.overtraining import Overtraining
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, tape
from tests.debugger.rules.runs import facts, only

EPOCHS, PER_EPOCH = 30, 10
TRAIN = falling(2.2, 0.05, EPOCHS)
VALID = np.r_[np.linspace(2.2, 1.5, 9), np.linspace(1.52, 2.4, EPOCHS - 9)]


def rule() -> Overtraining:
    return Overtraining()


def run(valid: Any, train: Any = TRAIN, **more: Any) -> Tape:
    return tape(
        loss=np.repeat(train, PER_EPOCH), valid={"loss": valid}, per_epoch=PER_EPOCH, context=facts(steps=300, **more)
    )


def fault() -> Tape:
    return run(VALID)


def control() -> Tape:
    return run(falling(2.2, 0.3, EPOCHS))


def test_found_when_the_best_epoch_is_long_ago() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.epoch == 9
    assert finding.steps == (90, 300)
    assert finding.fix == {"patience": 5, "monitor": "loss"}


def test_found_after_its_patience_and_not_before() -> None:
    assert only(rule(), fault().until(18 * PER_EPOCH)).verdict is Verdict.CLEAR
    assert only(rule(), fault().until(22 * PER_EPOCH)).found


def test_where_patience_is_in_use_the_best_epoch_is_the_fix() -> None:
    assert only(rule(), run(VALID, settings={"patience": 20})).fix == {"epochs": 9}


def test_clear_when_validation_gets_better() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_a_validation_loss_that_stays_costs_time_only() -> None:
    rests = np.r_[np.linspace(2.2, 0.4, 9), np.linspace(0.41, 0.45, EPOCHS - 9)]
    assert only(rule(), run(rests)).verdict is Verdict.CLEAR


def test_a_noisy_validation_loss_is_clear() -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal(EPOCHS)
    assert only(rule(), run(falling(2.2, 0.8, EPOCHS) + noise)).verdict is Verdict.CLEAR


def test_one_lucky_evaluation_is_not_the_best() -> None:
    valid = VALID.copy()
    valid[2] = 0.5
    assert only(rule(), run(valid)).epoch == 9


def test_where_training_fell_apart_too_it_is_not_overtraining() -> None:
    assert only(rule(), run(VALID, np.linspace(1.0, 3.0, EPOCHS))).verdict is Verdict.CLEAR


def test_nonfinite_evaluations_are_left_out() -> None:
    valid = VALID.copy()
    valid[[4, 20]] = np.nan
    assert only(rule(), run(valid)).epoch == 9


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run(VALID[:6]))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (6, 11)


def test_sagemakers_names_are_accepted() -> None:
    saved = Overtraining.parse({"patience_train": "5", "patience_validation": "3", "delta": "0.02"})
    assert saved == Overtraining(patience_validation=3, delta=0.02)
