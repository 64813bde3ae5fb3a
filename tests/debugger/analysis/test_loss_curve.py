"""Course: what a training loss says once its noise, its warm-up and its plan are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.view import Curve
from clearsight.debugger.analysis.loss_curve import (
    above_low_rate,
    least_loss,
    loss_curve,
    loss_progress,
    lower_rate_fix,
    noise_std,
    peak_learning_rate,
    rolling,
    trend,
    value_at,
)
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, tape


def test_it_keeps_the_finite_steps_and_counts_the_others() -> None:
    seen = loss_curve(tape(loss=[2.0, np.nan, 1.0, np.inf], lr=[0.1, 0.2, 0.3, 0.4]))
    assert seen.steps.tolist() == [1, 3]
    assert seen.rates.tolist() == [0.1, 0.3]
    assert seen.lost == 2
    assert seen.span() == (1, 3)


def test_guessing_costs_the_logarithm_of_the_classes_or_what_the_first_steps_cost() -> None:
    assert loss_curve(tape(loss=[5.0], facts=RunContext(classes=("a", "b")))).chance == pytest.approx(math.log(2))
    assert loss_curve(tape(loss=[5.0, 4.0, 4.5, 1.0])).chance == 4.5
    assert loss_curve(tape(loss=[5.0], facts=RunContext(classes=("a", "b")))).base == 5.0


def test_smoothed_labels_cannot_be_known_for_free() -> None:
    assert least_loss(RunContext(), 10) == 0
    smoothed = least_loss(RunContext(settings={"label_smoothing": 0.1}), 10)
    assert smoothed == pytest.approx(-0.91 * math.log(0.91) - 9 * 0.01 * math.log(0.01))
    seen = loss_curve(
        tape(loss=[2.0], facts=RunContext(classes=tuple("abcdefghij"), settings={"label_smoothing": 0.1}))
    )
    assert seen.height(smoothed) == pytest.approx(0)
    assert seen.height(seen.chance) == pytest.approx(1)


def test_the_warm_up_ends_at_half_the_highest_rate() -> None:
    rates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3]
    assert loss_curve(tape(loss=flat(1, 8), lr=rates)).warm().steps.tolist() == [3, 4, 5, 6, 7, 8]
    assert len(loss_curve(tape(loss=flat(1, 4), lr=rates[:4])).warm()) == 0
    assert len(loss_curve(tape(loss=flat(1, 8))).warm()) == 8


def test_steps_at_a_working_rate_are_told_apart() -> None:
    assert loss_curve(tape(loss=flat(1, 4), lr=[1.0, 0.5, 0.2, 0.0])).powered(0.5).steps.tolist() == [1, 2]


def test_a_verdict_waits_for_a_share_of_the_plan_but_not_for_ever() -> None:
    def wanted(planned: int) -> int:
        return loss_curve(tape(loss=[1.0], facts=RunContext(steps=planned))).wanted(40, 0.2)

    assert (wanted(100), wanted(1000), wanted(1_000_000), wanted(0)) == (40, 200, 5000, 80)


def test_a_trend_is_not_moved_by_single_batches() -> None:
    values = np.r_[flat(2.0, 20), flat(1.0, 20)]
    values[[0, 39]] = 50.0
    assert trend(values).drop == 1.0


def test_the_error_of_a_trend_is_that_of_its_medians() -> None:
    draw = np.random.default_rng(0)
    drops = [trend(draw.standard_normal(60)) for _ in range(500)]
    spread = float(np.std([line.drop for line in drops]))
    assert np.mean([line.error for line in drops]) == pytest.approx(spread, rel=0.15)
    assert np.mean([line.most < 0 for line in drops]) < 0.02


def test_noise_is_that_around_a_course() -> None:
    draw = np.random.default_rng(0).standard_normal(2000)
    assert noise_std(np.linspace(50, 0, 2000) + 0.5 * draw) == pytest.approx(0.5, rel=0.1)
    assert noise_std(np.array([1.0, 2.0])) == 0


def test_rolling_medians() -> None:
    assert rolling(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist() == [2.0, 3.0]
    assert rolling(np.arange(10.0), 3, 4).tolist() == [1.0, 5.0]
    assert rolling(np.array([1.0]), 3).size == 0


def test_a_curve_is_read_at_its_latest_value() -> None:
    curve = Curve(np.array([2, 4]), np.array([1, 1]), np.array([0.2, 0.4]))
    read = value_at(curve, np.array([1, 2, 3, 9]))
    assert np.isnan(read[0])
    assert read[1:].tolist() == [0.2, 0.2, 0.4]
    assert np.isnan(value_at(Curve(np.array([], int), np.array([], int), np.array([])), np.array([1]))).all()


def test_an_empty_run_has_an_empty_course() -> None:
    seen = loss_curve(tape())
    assert len(seen) == 0
    assert not seen.known


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
