"""LossNotDecreasing finds a loss that is stuck, and is clear on one that is noisy, converged, or slow on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.errors import BadValue
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.loss_not_decreasing import LossNotDecreasing
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, cosine, facts, only

STEPS = 120


def rule() -> LossNotDecreasing:
    return LossNotDecreasing()


def run(loss: Any, *, lr: Any = None, known: RunContext | None = None, **scalars: Any) -> Tape:
    rates = flat(1e-3, len(loss)) if lr is None else lr
    return tape(loss=loss, lr=rates, context=known or facts(steps=STEPS), **scalars)


def fault() -> Tape:
    return run(batches(flat(CHANCE, STEPS), spread=0.05))


def control() -> Tape:
    return run(batches(falling(CHANCE, 0.5, STEPS, bend=2.0)))


def test_found_when_flat() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.advice
    assert finding.steps is not None
    assert finding.steps[1] == STEPS


def test_clear_when_falling() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_falling_slowly_under_noise_is_clear_at_every_moment() -> None:
    alarms = 0
    for seed in range(50):
        saved = run(batches(np.linspace(2.3, 1.9, STEPS), seed=seed))
        alarms += any(only(rule(), saved.until(step)).found for step in range(10, STEPS + 1, 10))
    assert alarms <= 2  # of 50 runs, each judged twelve times


def test_one_lucky_batch_changes_nothing() -> None:
    loss = batches(flat(CHANCE, STEPS), spread=0.05)
    loss[-1] = 0.3
    assert only(rule(), run(loss)).found


def test_nonfinite_values_are_left_out() -> None:
    loss = batches(flat(CHANCE, STEPS), spread=0.05)
    loss[::9] = np.nan
    assert only(rule(), run(loss)).found


def test_a_loss_that_has_converged_is_clear() -> None:
    assert only(rule(), run(batches(falling(CHANCE, 0.05, STEPS, bend=20.0), spread=0.02))).verdict is Verdict.CLEAR


def test_an_accurate_model_is_not_stuck_whatever_its_loss() -> None:
    loss = batches(flat(2.0, STEPS), spread=0.02)
    assert only(rule(), run(loss, accuracy=flat(0.97, STEPS))).verdict is Verdict.CLEAR


def test_the_floor_of_smoothed_labels_counts_as_nothing() -> None:
    known = facts(steps=STEPS, settings={"label_smoothing": 0.5})
    assert only(rule(), run(batches(flat(1.75, STEPS), spread=0.02), known=known)).verdict is Verdict.CLEAR


def test_the_flat_end_of_a_schedule_is_clear() -> None:
    lr = np.r_[flat(1e-3, STEPS // 3), flat(1e-6, STEPS - STEPS // 3)]
    loss = np.r_[np.linspace(2.3, 2.0, STEPS // 3), flat(2.0, STEPS - STEPS // 3)]
    assert only(rule(), run(batches(loss, spread=0.03), lr=lr)).verdict is Verdict.CLEAR


def test_a_plateau_half_way_up_is_found_only_when_it_lasts() -> None:
    loss = batches(np.r_[np.linspace(2.3, 1.9, 30), flat(1.9, 170)], spread=0.03)
    saved = run(loss, known=facts(steps=200))
    assert only(rule(), saved.until(80)).verdict is not Verdict.FOUND
    finding = only(rule(), saved)
    assert finding.found
    assert finding.severity is Severity.WARNING
    assert finding.fix == {"lr": 3e-4}


def test_found_when_it_rises_and_stays_there() -> None:
    loss = batches(np.r_[falling(CHANCE, 0.6, 60), flat(2.0, 60)])
    finding = only(rule(), run(loss))
    assert finding.found
    assert finding.steps is not None
    assert finding.steps[0] <= 61
    assert "is 2" in finding.cause


def test_while_a_run_goes_on_a_rise_must_last_longer() -> None:
    saved = run(batches(np.r_[falling(CHANCE, 0.6, 60), flat(2.0, 60)]))
    saved.ended = False
    assert [only(rule(), saved.until(step)).found for step in (60, 70, 120)] == [False, False, True]


def test_a_spike_that_passes_is_clear() -> None:
    loss = batches(falling(CHANCE, 0.5, STEPS))
    loss[70:76] = 2.4
    assert only(rule(), run(loss)).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run([2.3] * 7))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (7, 48)


def test_not_enough_data_in_the_warm_up() -> None:
    lr = cosine(1000, warmup=0.2)[:150]
    saved = run(batches(flat(CHANCE, 150), spread=0.05), lr=lr, known=facts(steps=1000))
    assert only(rule(), saved).verdict is Verdict.NOT_ENOUGH_DATA


def test_without_a_plan_it_waits_for_twice_as_long() -> None:
    saved = run(batches(flat(CHANCE, 60), spread=0.05), known=facts())
    assert only(rule(), saved).points is not None
    assert only(rule(), run(batches(flat(CHANCE, 100), spread=0.05), known=facts())).found


def test_long_runs_are_judged_within_five_thousand_steps() -> None:
    saved = run(batches(flat(CHANCE, 6000), spread=0.05), known=facts(steps=100_000))
    assert only(rule(), saved).found


def test_sagemakers_names_are_accepted() -> None:
    words = {"num_steps": "10", "diff_percent": "0.5", "increase_threshold_percent": "5", "mode": "TRAIN"}
    saved = LossNotDecreasing.parse(words)
    assert saved == LossNotDecreasing(window=10, min_drop=0.5, max_rise=5.0)
    with pytest.raises(BadValue):
        LossNotDecreasing.parse({"num_steps": "0"})
