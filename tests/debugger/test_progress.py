"""Progress: where the loss is, and when the learning rate is awake."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clearsight.core.facts import RunContext
from clearsight.debugger.progress import above_low_rate, peak_learning_rate, loss_progress, lower_rate_fix
from clearsight.debugger.tape import Tape
from clearsight.testing.tapes import flat, tape


def test_the_loss_is_low_against_that_of_guessing() -> None:
    state = loss_progress(tape(loss=[*flat(2.3, 20), *flat(0.1, 20)], facts=RunContext(classes=tuple("abcdefghij"))))
    assert state is not None
    assert (state.start, state.recent) == (2.3, 0.1)
    assert state.chance == pytest.approx(math.log(10))
    assert state.low


def test_without_classes_the_start_is_the_measure() -> None:
    state = loss_progress(tape(loss=[*flat(4.0, 20), *flat(2.0, 20)]))
    assert state is not None
    assert state.reference == 4.0
    assert not state.low


def test_one_lucky_batch_is_no_low_loss() -> None:
    state = loss_progress(tape(loss=[*flat(2.3, 20), 0.01]))
    assert state is not None
    assert not state.low


def test_nan_is_left_out() -> None:
    state = loss_progress(tape(loss=[2.0, float("nan"), 2.0]))
    assert state is not None
    assert state.recent == 2.0
    assert loss_progress(tape(loss=[float("nan")])) is None
    assert loss_progress(Tape()) is None


def test_the_ends_of_a_schedule_are_asleep() -> None:
    rates = np.r_[0.0, 1e-5, flat(1e-3, 5), 1e-5, 0.0]
    made = tape(loss=flat(1.0, 9), lr=rates)
    assert peak_learning_rate(made) == 1e-3
    assert above_low_rate(made, np.arange(1, 10)).tolist() == [False, False, *[True] * 5, False, False]


def test_without_a_saved_rate_all_steps_are_awake() -> None:
    made = tape(loss=flat(1.0, 3), facts=RunContext(lr=0.1))
    assert above_low_rate(made, np.array([1, 2])).all()
    assert peak_learning_rate(made) == 0.1


def test_a_fix_needs_a_known_rate() -> None:
    assert lower_rate_fix(tape(loss=[1.0], lr=[3e-3])) == {"lr": 3e-4}
    assert lower_rate_fix(tape(loss=[1.0], lr=[1e-4], facts=RunContext(lr=3e-3))) == {"lr": 3e-4}
    assert lower_rate_fix(Tape()) == {}
