"""Validation beside training: where it was best, and where it stopped getting better."""

from __future__ import annotations

import math

import numpy as np

from clearsight.debugger.analysis.generalisation import train_valid_curves
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import tape
from tests.debugger.rules.runs import facts


def run(train: list[float], valid: list[float]) -> Tape:
    return tape(loss=np.repeat(train, 5), valid={"loss": valid}, per_epoch=5, facts=facts())


def test_only_evaluations_with_both_losses_count() -> None:
    seen = train_valid_curves(run([2.0, 1.5, 1.0], [2.1, math.nan, 1.2]))
    assert seen.epochs.tolist() == [1, 3]
    assert seen.train.tolist() == [2.0, 1.0]
    assert np.isnan(seen.valid_accuracy).all()


def test_the_best_is_no_single_lucky_one() -> None:
    assert train_valid_curves(run([1.0] * 7, [2.0, 0.5, 2.0, 1.6, 1.4, 1.5, 1.7])).best() == 4


def test_it_stopped_where_nothing_worth_having_followed() -> None:
    valid = [2.0, 1.8, 1.6, 1.51, 1.5, 1.49, 1.5, 1.7]
    seen = train_valid_curves(run([1.0] * len(valid), valid))
    assert seen.stopped() == 3
    assert seen.best() == 4


def test_an_empty_run_has_no_evaluations() -> None:
    assert len(train_valid_curves(tape())) == 0
    assert train_valid_curves(tape()).chance == 1.0
