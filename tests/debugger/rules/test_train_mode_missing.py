"""TrainModeMissing: training in evaluation mode after a validation."""

from __future__ import annotations

from typing import Any

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.train_mode_missing import TrainModeMissing
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only
from clearsight.testing.tapes import falling, tape
from tests.debugger.rules.runs import CHANCE, batches, facts

STEPS = 40


def rule() -> TrainModeMissing:
    return TrainModeMissing()


def run(in_eval: int, **counts: Any) -> Tape:
    known = {"backwards": STEPS, "steps": STEPS, "train_passes": STEPS, "train_seen_first": True, "mode_layers": 2}
    loop = LoopInfo(**{**known, "train_passes_in_eval": in_eval, **counts})
    return tape(loss=batches(falling(CHANCE, 0.7, STEPS)), context=facts(loop=loop))


def fault() -> Tape:
    return run(30)


def control() -> Tape:
    return run(0)


def test_found_after_a_beginning_in_train_mode() -> None:
    finding = only(rule(), fault())
    assert (finding.verdict, finding.severity, finding.value) == (Verdict.FOUND, Severity.WARNING, 0.75)


def test_evaluation_mode_from_the_first_step_on_is_an_information() -> None:
    assert only(rule(), run(STEPS, train_seen_first=False)).severity is Severity.INFO


def test_a_model_without_batch_norm_and_dropout_is_clear() -> None:
    assert only(rule(), run(30, mode_layers=0)).verdict is Verdict.CLEAR


def test_one_pass_in_evaluation_mode_decides_nothing() -> None:
    assert only(rule(), run(1)).verdict is Verdict.CLEAR
