"""ScheduleMismatch: the rate sank while there was something to learn, or rose to the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.schedule_mismatch import ScheduleMismatch
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import batches, cosine, facts, only

STEPS = 120
SHORT = np.r_[flat(1e-3, 20), flat(1e-4, 20), flat(1e-5, 20), flat(1e-6, 60)]  # a tenth every 20 steps
STOPPED = batches(np.r_[np.linspace(2.3, 1.6, 40), flat(1.6, 80)], spread=0.1)


def rule() -> ScheduleMismatch:
    return ScheduleMismatch()


def run(loss: Any, lr: Any, *, known: RunContext | None = None, ended: bool = True, **more: Any) -> Tape:
    return tape(loss=loss, lr=lr, context=known or facts(steps=STEPS), ended=ended, **more)


def fault() -> Tape:
    return run(STOPPED, SHORT)


def control() -> Tape:
    return run(batches(falling(2.3, 0.4, STEPS)), cosine(STEPS))


def test_found_when_the_rate_sinks_before_the_loss_is_done() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.steps == (41, STEPS)
    assert finding.epoch == 5
    assert finding.fix == {"schedule": "cosine"}
    assert finding.value is not None
    assert abs(finding.value - 2 / 3) < 0.02


def test_found_before_the_end_where_the_plan_is_known() -> None:
    assert only(rule(), fault().until(70)).found


def test_without_a_plan_it_waits_for_the_end() -> None:
    assert only(rule(), run(STOPPED, SHORT, known=facts(), ended=False)).verdict is Verdict.CLEAR
    assert only(rule(), run(STOPPED, SHORT, known=facts())).found


def test_a_cosine_ends_low_and_is_clear() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_a_constant_rate_is_clear() -> None:
    assert only(rule(), run(STOPPED, flat(1e-3, STEPS))).verdict is Verdict.CLEAR


def test_thirds_of_the_run_are_a_usual_schedule() -> None:
    lr = np.r_[flat(0.1, 40), flat(0.01, 40), flat(0.001, 40)]
    assert only(rule(), run(batches(falling(2.3, 1.2, STEPS)), lr)).verdict is Verdict.CLEAR


def test_a_loss_that_was_done_when_the_rate_sank_is_clear() -> None:
    assert only(rule(), run(batches(falling(2.3, 0.02, STEPS, bend=20), spread=0.02), SHORT)).verdict is Verdict.CLEAR


def test_a_loss_that_rested_before_the_rate_sank_is_clear() -> None:
    assert only(rule(), run(batches(np.linspace(1.6, 1.75, STEPS), spread=0.02), SHORT)).verdict is Verdict.CLEAR


def test_a_rate_that_comes_back_is_clear() -> None:
    assert only(rule(), run(STOPPED, np.r_[SHORT[:-10], flat(1e-3, 10)])).verdict is Verdict.CLEAR


def test_found_when_the_run_ends_in_its_warm_up() -> None:
    rises = np.linspace(1e-5, 1e-3, STEPS)
    warm = facts(steps=STEPS, settings={"warmup": 0.9})
    assert only(rule(), run(STOPPED, rises, known=warm)).fix == {"warmup": 0.05}
    finding = only(rule(), run(STOPPED, rises))
    assert finding.found
    assert finding.advice


def test_found_when_the_run_ends_soon_after_its_warm_up() -> None:
    warm_up = int(0.95 * STEPS)
    rates = np.concatenate([np.linspace(1e-5, 1e-3, warm_up), np.linspace(1e-3, 1e-5, STEPS - warm_up)])
    finding = only(rule(), run(STOPPED, rates))
    assert finding.found
    assert "the learning rate rose until step" in finding.cause


def test_a_peak_in_the_first_half_is_no_long_warm_up() -> None:
    rates = np.concatenate([np.linspace(1e-5, 1e-3, STEPS // 3), np.linspace(1e-3, 2e-5, STEPS - STEPS // 3)])
    assert not only(rule(), run(STOPPED, rates)).found


def test_a_run_that_was_stopped_early_may_end_in_its_warm_up() -> None:
    saved = run(STOPPED[:60], np.linspace(1e-5, 1e-3, 60))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_lost_values_and_a_lucky_batch_change_nothing() -> None:
    loss = STOPPED.copy()
    loss[[5, 30, 90]] = np.nan
    loss[39] = 0.1
    assert only(rule(), run(loss, SHORT)).found


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run(STOPPED[:8], SHORT[:8], ended=False))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (8, 18)
    assert only(rule(), tape(loss=STOPPED)).cause == "the learning rate is not known"
