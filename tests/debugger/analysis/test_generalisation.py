"""Generalisation: the best evaluation, and the start of the plateau."""

from __future__ import annotations

import math

import numpy as np

from clearsight.debugger.analysis.generalisation import train_valid_curves
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import tape
from tests.debugger.rules.runs import facts


def run(train: list[float], valid: list[float]) -> Tape:
    return tape(loss=np.repeat(train, 5), valid={"loss": valid}, per_epoch=5, context=facts())


def test_only_evaluations_with_both_losses_count() -> None:
    curves = train_valid_curves(run([2.0, 1.5, 1.0], [2.1, math.nan, 1.2]))
    assert curves.epochs.tolist() == [1, 3]
    assert curves.train.tolist() == [2.0, 1.0]
    assert np.isnan(curves.valid_accuracy).all()


def test_the_best_evaluation_is_no_single_lucky_one() -> None:
    assert train_valid_curves(run([1.0] * 7, [2.0, 0.5, 2.0, 1.6, 1.4, 1.5, 1.7])).best() == 4


def test_the_plateau_starts_where_no_real_improvement_follows() -> None:
    valid = [2.0, 1.8, 1.6, 1.51, 1.5, 1.49, 1.5, 1.7]
    curves = train_valid_curves(run([1.0] * len(valid), valid))
    assert curves.plateau_start() == 3
    assert curves.best() == 4


def test_an_empty_run_has_no_evaluations() -> None:
    assert len(train_valid_curves(tape())) == 0
    assert train_valid_curves(tape()).chance == 1.0
