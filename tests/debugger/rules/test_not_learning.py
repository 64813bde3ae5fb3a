"""HeadNotLearning needs both: loss and accuracy at chance level."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.head_not_learning import HeadNotLearning
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, cosine, facts, only

STEPS = 90


def rule() -> HeadNotLearning:
    return HeadNotLearning()


def at_chance(share: float = 0.1, steps: int = STEPS) -> Any:
    return np.random.default_rng(1).binomial(16, share, steps) / 16


def run(loss: Any, accuracy: Any, known: RunContext | None = None, lr: Any = None) -> Tape:
    rates = cosine(STEPS)[: len(loss)] if lr is None else lr
    return tape(loss=loss, accuracy=accuracy, lr=rates, context=known or facts(steps=STEPS))


def fault() -> Tape:
    return run(batches(flat(CHANCE, STEPS), spread=0.05), at_chance())


def control() -> Tape:
    return run(batches(falling(CHANCE, 0.7, STEPS)), np.linspace(0.1, 0.8, STEPS))


def test_found_when_it_stays_at_chance_level() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.subject == "fc"
    assert "chance level: 2.3" in finding.cause
    assert finding.advice


def test_clear_when_it_learns() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_a_slow_beginning_is_not_judged() -> None:
    assert only(rule(), fault().until(25)).verdict is Verdict.NOT_ENOUGH_DATA


def test_an_accuracy_above_chance_level_is_learning() -> None:
    assert only(rule(), run(batches(flat(2.2, STEPS)), at_chance(0.2))).verdict is Verdict.CLEAR


def test_a_loss_that_still_falls_is_learning() -> None:
    falls = batches(np.linspace(2.45, 2.15, STEPS), spread=0.03)
    assert only(rule(), run(falls, at_chance())).verdict is Verdict.CLEAR


def test_a_loss_far_from_chance_level_is_clear() -> None:
    assert only(rule(), run(batches(flat(9.0, STEPS)), at_chance())).verdict is Verdict.CLEAR


def test_always_predicting_the_largest_class_is_chance_level() -> None:
    known = facts(steps=STEPS, class_counts=(300, *(100,) * 9))
    assert only(rule(), run(batches(flat(2.25, STEPS), spread=0.05), at_chance(0.25), known)).found


def test_a_rate_of_zero_is_clear() -> None:
    saved = run(batches(flat(CHANCE, STEPS), spread=0.05), at_chance(), lr=flat(0.0, STEPS))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_one_lucky_batch_and_lost_values_change_nothing() -> None:
    loss, right = batches(flat(CHANCE, STEPS), spread=0.05), at_chance()
    loss[-1], right[-1], loss[50:54], right[50:54] = 0.1, 1.0, np.nan, np.nan
    assert only(rule(), run(loss, right)).found


def test_few_predictions_are_not_enough() -> None:
    known = facts(steps=STEPS, batch_size=2)
    finding = only(rule(), run(batches(flat(CHANCE, STEPS), spread=0.05), at_chance(), known))
    assert finding.points is not None
    assert finding.points.want == 200


def test_not_enough_data_without_classes_or_accuracy() -> None:
    finding = only(rule(), tape(loss=flat(2.3, STEPS), lr=cosine(STEPS), context=facts(steps=STEPS)))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "accuracy" in finding.cause
