"""LearningRateTooLow needs both: hardly anything learned, and updates that are too small."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.learning_rate_too_low import LearningRateTooLow
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, HEAD, batches, cosine, facts, only

STEPS = 100


def rule() -> LearningRateTooLow:
    return LearningRateTooLow()


def run(loss: Any, *, lr: float = 1e-6, ratio: Any = 2e-5, known: RunContext | None = None, **more: Any) -> Tape:
    steps = len(loss)
    ratios: dict[str, Any] = {}
    if ratio is not None:
        ratios["update_ratio"] = ratio * np.ones(steps)
    known = known or facts(lr=lr, steps=STEPS, **more)
    return tape(loss=loss, lr=cosine(STEPS, lr)[:steps], context=known, **ratios)


def crawling(steps: int = STEPS) -> Any:
    return batches(np.linspace(CHANCE, CHANCE - 0.05, steps), spread=0.1)


def fault() -> Tape:
    return run(crawling())


def control() -> Tape:
    return run(batches(falling(CHANCE, 0.5, STEPS)), lr=1e-3, ratio=5e-3)


def test_found_when_it_crawls_by_tiny_updates() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.value == 2e-5
    assert "2e-05 of their size" in finding.cause


def test_found_well_before_the_end() -> None:
    assert only(rule(), run(crawling(40))).found


def test_not_enough_data_in_the_warm_up() -> None:
    assert only(rule(), run(crawling(6))).verdict is Verdict.NOT_ENOUGH_DATA


def test_clear_when_it_learns_however_small_the_updates() -> None:
    assert only(rule(), run(batches(falling(CHANCE, 0.5, STEPS)))).verdict is Verdict.CLEAR


def test_clear_when_the_updates_are_of_a_usual_size() -> None:
    assert only(rule(), run(crawling(), lr=1e-4, ratio=5e-3)).verdict is Verdict.CLEAR


def test_a_usual_rate_is_never_found() -> None:
    assert only(rule(), run(crawling(), lr=1e-3, ratio=1e-6)).verdict is Verdict.CLEAR


def test_weights_that_do_not_move_at_all_are_clear() -> None:
    assert only(rule(), run(crawling(), ratio=0.0)).verdict is Verdict.CLEAR


def test_a_long_run_may_begin_slowly() -> None:
    known = facts(lr=1e-5, steps=3000)
    steady = batches(np.linspace(CHANCE, CHANCE - 0.5, 600))
    saved = tape(loss=steady, lr=cosine(3000, 1e-5)[:600], update_ratio=flat(9e-5, 600), context=known)
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_the_low_end_of_a_schedule_does_not_count() -> None:
    ratio = cosine(STEPS, 5e-3)
    assert only(rule(), run(batches(flat(CHANCE, STEPS)), lr=1e-4, ratio=ratio)).verdict is Verdict.CLEAR


def test_a_head_that_cannot_move_far_enough_is_found() -> None:
    known = facts(lr=5e-6, steps=STEPS, cached=True, parameters=(HEAD,))
    finding = only(rule(), run(crawling(), lr=5e-6, ratio=3e-4, known=known))
    assert finding.found
    assert finding.fix == {"lr": 5e-3}


def test_one_change_brings_adam_to_a_usual_rate() -> None:
    assert only(rule(), run(crawling(), ratio=20 * cosine(STEPS, 1e-6))).fix == {"lr": 1e-3}
    assert only(rule(), run(crawling(), ratio=None)).fix == {"lr": 1e-3}


def test_with_sgd_the_measured_update_says_the_rate() -> None:
    known = facts(lr=1e-5, steps=STEPS, optimizer="SGD")
    finding = only(rule(), run(crawling(), lr=1e-5, ratio=3e-6 * cosine(STEPS, 1.0), known=known))
    assert 1e-3 <= finding.fix["lr"] <= 0.1


def test_without_measured_updates_a_hundredth_of_the_usual_rate_is_found_less_surely() -> None:
    finding = only(rule(), run(crawling(), ratio=None))
    assert finding.found
    assert finding.confidence < 0.7
    assert only(rule(), run(crawling(), lr=1e-4, ratio=None)).verdict is Verdict.CLEAR


def test_one_lucky_batch_and_lost_values_change_nothing() -> None:
    loss = crawling()
    loss[-1] = 0.2
    loss[40:44] = np.nan
    assert only(rule(), run(loss)).found


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), run(crawling(8)))
    assert finding.points is not None
    assert finding.points.want >= 12
    assert finding.points.have < finding.points.want


def test_an_unknown_rate_is_not_enough_data() -> None:
    finding = only(rule(), tape(loss=crawling(), context=facts(steps=STEPS)))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.cause == "the learning rate is not known"
