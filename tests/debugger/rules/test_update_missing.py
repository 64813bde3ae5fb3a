"""UpdateMissing: gradients that never become an update."""

from __future__ import annotations

from typing import Any

import pytest

from clearsight.core.context import LoopInfo, WeightWrites
from clearsight.core.finding import Severity, Verdict
from clearsight.core.tensors import Moment, Scalars
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


# Updates that something else takes back


def overwritten(*, valid: dict[str, list[float]] | None = None, learned: bool = False, **writes: Any) -> Tape:
    """Return a run of four epochs of ten steps."""
    counts: dict[str, Any] = dict.fromkeys(("forwards", "backwards", "train_passes", "steps"), STEPS)
    loop = LoopInfo(**counts, highest_label=9, writes=WeightWrites(**{"checked": 20, "changed": 3, **writes}))
    loss = batches(falling(CHANCE, 0.3 if learned else 2.0, STEPS))
    return tape(loss=loss, grad_norm=flat(1.0, STEPS), lr=flat(1e-3, STEPS), valid=valid, context=facts(loop=loop))


BETTER = {"loss": [2.2, 2.0, 1.9, 2.0], "accuracy": [0.2, 0.3, 0.35, 0.3]}
WORSE = {"loss": [2.0, 2.1, 2.2, 2.15], "accuracy": [0.35, 0.3, 0.25, 0.3]}
AGAIN: dict[str, Any] = {"returns": ((10, 0), (20, 0), (30, 0)), "undone": 1.0}
TO_THE_FIRST: dict[str, Any] = {"returns": ((20, 10), (30, 10)), "undone": 0.5}


def test_weights_that_are_set_back_before_every_epoch_are_severe() -> None:
    finding = only(rule(), overwritten(**AGAIN))
    assert (finding.verdict, finding.severity) == (Verdict.FOUND, Severity.SEVERE)
    assert "before epoch 2, 3 and 4 the weights were set back to those from before the training" in finding.cause
    assert finding.value == pytest.approx(0.75)


def test_weights_of_a_worse_epoch_may_not_come_again_and_those_of_the_best_may() -> None:
    assert "set back to those after step 10" in only(rule(), overwritten(valid=BETTER, **TO_THE_FIRST)).cause
    assert only(rule(), overwritten(valid=WORSE, **TO_THE_FIRST)).verdict is Verdict.CLEAR


def test_new_weights_before_every_epoch_are_severe() -> None:
    finding = only(rule(), overwritten(replaced=(10, 20, 30)))
    assert finding.severity is Severity.SEVERE
    assert "all weights got other values" in finding.cause


def test_weights_cut_far_below_their_first_size_are_a_warning() -> None:
    finding = only(rule(), overwritten(changed=20, cut=0.88, held=0.4, limit=0.01))
    assert (finding.verdict, finding.severity) == (Verdict.FOUND, Severity.WARNING)
    assert "cut to at most 0.01, and 88% of them were larger" in finding.cause


@pytest.mark.parametrize(
    "writes",
    [
        {"returns": ((10, 0),), "undone": 1.0},
        {"returns": ((2, 0), (4, 0)), "undone": 1.0},
        {"undone": 0.8, "changed": 10},
        {"undone": 0.99, "changed": 10, "learned": True},
        {"changed": 20, "cut": 0.3, "limit": 0.1},
        {"changed": 20, "cut": 0.9, "limit": 0.01, "learned": True},
        {"changed": 1, "cut": 0.9, "limit": 0.01},
        {"replaced": (10,)},
    ],
    ids=["one return", "early returns", "Lookahead", "a limit", "few cut", "cut and learned", "cut once", "new once"],
)
def test_writes_that_leave_something_are_clear(writes: dict[str, Any]) -> None:
    assert only(rule(), overwritten(**writes)).verdict is Verdict.CLEAR


def test_folds_of_several_epochs_that_begin_at_the_start_are_clear() -> None:
    saved = overwritten(**AGAIN, valid=None)
    for step in range(1, STEPS + 1, 3):
        saved.add(Scalars(Moment("eval", step, 1, step), {"valid_loss": 2.0}))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_a_run_that_goes_on_knows_no_later_write() -> None:
    assert only(rule(), overwritten(**AGAIN).until(12)).verdict is Verdict.CLEAR
