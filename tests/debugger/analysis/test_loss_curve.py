"""Loss curve: its level, trend and noise, its warm-up, how far the loss has come, and validation beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.view import Curve
from clearsight.debugger.analysis.loss_curve import (
    least_loss,
    loss_curve,
    loss_progress,
    noise_std,
    rolling,
    train_valid_curves,
    trend,
    value_at,
)
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, tape
from tests.debugger.rules.runs import facts


def test_nonfinite_losses_are_left_out_and_counted() -> None:
    curve = loss_curve(tape(loss=[2.0, np.nan, 1.0, np.inf], lr=[0.1, 0.2, 0.3, 0.4]))
    assert curve.steps.tolist() == [1, 3]
    assert curve.rates.tolist() == [0.1, 0.3]
    assert curve.nonfinite == 2
    assert curve.span() == (1, 3)


def test_chance_level_is_the_logarithm_of_the_classes_or_the_first_losses() -> None:
    assert loss_curve(tape(loss=[5.0], context=RunContext(classes=("a", "b")))).chance == pytest.approx(math.log(2))
    assert loss_curve(tape(loss=[5.0, 4.0, 4.5, 1.0])).chance == 4.5
    assert loss_curve(tape(loss=[5.0], context=RunContext(classes=("a", "b")))).base == 5.0


def test_smoothed_labels_have_a_least_loss_above_zero() -> None:
    assert least_loss(RunContext(), 10) == 0
    smoothed = least_loss(RunContext(settings={"label_smoothing": 0.1}), 10)
    assert smoothed == pytest.approx(-0.91 * math.log(0.91) - 9 * 0.01 * math.log(0.01))
    curve = loss_curve(
        tape(loss=[2.0], context=RunContext(classes=tuple("abcdefghij"), settings={"label_smoothing": 0.1}))
    )
    assert curve.share_of_chance(smoothed) == pytest.approx(0)
    assert curve.share_of_chance(curve.chance) == pytest.approx(1)


def test_the_warm_up_ends_at_half_the_highest_rate() -> None:
    rates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.4, 0.3]
    assert loss_curve(tape(loss=flat(1, 8), lr=rates)).after_warm_up().steps.tolist() == [3, 4, 5, 6, 7, 8]
    assert len(loss_curve(tape(loss=flat(1, 4), lr=rates[:4])).after_warm_up()) == 0
    assert len(loss_curve(tape(loss=flat(1, 8))).after_warm_up()) == 8


def test_steps_at_a_working_rate_are_selected() -> None:
    assert loss_curve(tape(loss=flat(1, 4), lr=[1.0, 0.5, 0.2, 0.0])).at_rate(0.5).steps.tolist() == [1, 2]


def test_a_verdict_waits_for_a_share_of_the_plan_up_to_a_limit() -> None:
    def steps(planned: int) -> int:
        return loss_curve(tape(loss=[1.0], context=RunContext(steps=planned))).needed_steps(40, 0.2)

    assert (steps(100), steps(1000), steps(1_000_000), steps(0)) == (40, 200, 5000, 80)


def test_a_trend_is_not_moved_by_single_batches() -> None:
    values = np.r_[flat(2.0, 20), flat(1.0, 20)]
    values[[0, 39]] = 50.0
    assert trend(values).drop == 1.0


def test_the_error_of_a_trend_is_that_of_its_medians() -> None:
    draw = np.random.default_rng(0)
    drops = [trend(draw.standard_normal(60)) for _ in range(500)]
    spread = float(np.std([line.drop for line in drops]))
    assert np.mean([line.error for line in drops]) == pytest.approx(spread, rel=0.15)
    assert np.mean([line.largest_drop < 0 for line in drops]) < 0.02


def test_noise_leaves_the_trend_out() -> None:
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


def test_an_empty_run_has_an_empty_curve() -> None:
    curve = loss_curve(tape())
    assert len(curve) == 0
    assert not curve.has_rates


def test_a_loss_far_below_chance_level_is_low() -> None:
    progress = loss_progress(
        tape(loss=[*flat(2.3, 20), *flat(0.1, 20)], context=RunContext(classes=tuple("abcdefghij")))
    )
    assert progress is not None
    assert (progress.start, progress.recent) == (2.3, 0.1)
    assert progress.chance == pytest.approx(math.log(10))
    assert progress.low


def test_without_classes_the_start_is_the_reference() -> None:
    progress = loss_progress(tape(loss=[*flat(4.0, 20), *flat(2.0, 20)]))
    assert progress is not None
    assert progress.reference == 4.0
    assert not progress.low


def test_one_lucky_batch_is_no_low_loss() -> None:
    progress = loss_progress(tape(loss=[*flat(2.3, 20), 0.01]))
    assert progress is not None
    assert not progress.low


def test_nan_is_left_out_of_the_progress() -> None:
    progress = loss_progress(tape(loss=[2.0, float("nan"), 2.0]))
    assert progress is not None
    assert progress.recent == 2.0
    assert loss_progress(tape(loss=[float("nan")])) is None
    assert loss_progress(Tape()) is None


def evaluated(train: list[float], valid: list[float]) -> Tape:
    return tape(loss=np.repeat(train, 5), valid={"loss": valid}, per_epoch=5, context=facts())


def test_only_evaluations_with_both_losses_count() -> None:
    curves = train_valid_curves(evaluated([2.0, 1.5, 1.0], [2.1, math.nan, 1.2]))
    assert curves.epochs.tolist() == [1, 3]
    assert curves.train.tolist() == [2.0, 1.0]
    assert np.isnan(curves.valid_accuracy).all()


def test_the_best_evaluation_is_no_single_lucky_one() -> None:
    curves = train_valid_curves(evaluated([1.0] * 7, [2.0, 0.5, 2.0, 1.6, 1.4, 1.5, 1.7]))
    assert curves.smoothed().argmin() == 4


def test_the_plateau_starts_where_no_real_improvement_follows() -> None:
    valid = [2.0, 1.8, 1.6, 1.51, 1.5, 1.49, 1.5, 1.7]
    curves = train_valid_curves(evaluated([1.0] * len(valid), valid))
    assert curves.plateau_start() == 3
    assert curves.smoothed().argmin() == 4


def test_an_empty_run_has_no_evaluations() -> None:
    assert len(train_valid_curves(tape())) == 0
    assert train_valid_curves(tape()).chance == 1.0
