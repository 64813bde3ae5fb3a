"""UpdateMissing: gradients that never become an update."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.update_missing import UpdateMissing
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, facts

STEPS = 40


def rule() -> UpdateMissing:
    return UpdateMissing()


def run(loss: Any, **counts: Any) -> Tape:
    loop = LoopInfo(**{"forwards": STEPS, "backwards": STEPS, "train_passes": STEPS, "steps": STEPS, **counts})
    return tape(loss=loss, grad_norm=flat(1.0, STEPS), lr=flat(1e-3, STEPS), context=facts(loop=loop))


def fault() -> Tape:
    return run(batches(flat(CHANCE, STEPS), spread=0.05), steps=0)


def control() -> Tape:
    return run(batches(falling(CHANCE, 0.7, STEPS)))


def test_backward_without_a_step_is_severe() -> None:
    finding = only(rule(), fault())
    assert (finding.verdict, finding.severity) == (Verdict.FOUND, Severity.SEVERE)
    assert "the weights do not change" in finding.cause


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"steps": 0, "moved": True}, "another optimizer steps"),
        ({"empty_steps": STEPS, "unreached_steps": STEPS}, "no backward reached the model's outputs"),
        ({"empty_steps": STEPS}, "cleared in between"),
        ({"empty_steps": STEPS, "unreached_steps": STEPS, "forwards": 0, "backwards": 0}, "was never run"),
        ({"lost": 36, "steps": 4}, "cleared before any step"),
    ],
)
def test_each_cause_has_its_words(counts: dict[str, Any], words: str) -> None:
    assert words in only(rule(), run(flat(CHANCE, STEPS), **counts)).cause


def test_accumulated_batches_and_a_few_skipped_steps_are_clear() -> None:
    accumulated = run(flat(CHANCE, STEPS), steps=STEPS // 4)
    skipped = run(flat(CHANCE, STEPS), lost=3, steps=STEPS - 3)  # by a gradient scaler that looks for its scale
    assert [only(rule(), saved).verdict for saved in (accumulated, skipped)] == [Verdict.CLEAR] * 2


def test_batches_that_nothing_follows_are_found() -> None:
    never = only(rule(), run(flat(CHANCE, STEPS), steps=0, backwards=0, unfollowed=30))
    assert (never.severity, "30 batches were run" in never.cause) == (Severity.SEVERE, True)
    many = only(rule(), run(flat(CHANCE, STEPS), trained_batches=STEPS, skipped_batches=3 * STEPS))
    assert (many.severity, many.value) == (Severity.WARNING, 0.75)
    assert "120 of 160 training batches" in many.cause


@pytest.mark.parametrize(
    "counts",
    [
        {"trained_batches": 32, "skipped_batches": 8},  # whose loss is not finite, say
        {"trained_batches": 0, "skipped_batches": 4},
        {"steps": 0, "backwards": 0, "unfollowed": 30, "moved": True},  # updates without gradients
        {"steps": 0, "backwards": 0, "unfollowed": 4},
    ],
    ids=["a fifth", "few", "moved", "a start"],
)
def test_some_batches_that_nothing_follows_are_no_fault(counts: dict[str, Any]) -> None:
    assert not only(rule(), run(flat(CHANCE, STEPS), **counts)).found


def test_a_loop_of_our_own_is_not_judged() -> None:
    saved = tape(loss=flat(CHANCE, STEPS), context=facts())
    assert only(rule(), saved).verdict is Verdict.NOT_ENOUGH_DATA
