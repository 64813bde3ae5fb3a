"""EvalModeMissing: validation in train mode."""

from __future__ import annotations

from typing import Any

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.eval_mode_missing import EvalModeMissing
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only
from clearsight.testing.tapes import falling, tape
from tests.debugger.rules.runs import CHANCE, batches, facts

STEPS = 40


def rule() -> EvalModeMissing:
    return EvalModeMissing()


def run(in_train: int, **counts: Any) -> Tape:
    loop = LoopInfo(**{"eval_passes": 10, "eval_passes_in_train": in_train, "mode_layers": 2, **counts})
    return tape(loss=batches(falling(CHANCE, 0.7, STEPS)), context=facts(loop=loop))


def fault() -> Tape:
    return run(10)


def control() -> Tape:
    return run(0)


def test_found_in_train_mode() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert "10 of 10 evaluation passes ran in train mode" in finding.cause


def test_a_model_without_batch_norm_and_dropout_is_clear() -> None:
    assert only(rule(), run(10, mode_layers=0)).verdict is Verdict.CLEAR


def test_a_single_pass_among_many_is_clear() -> None:
    assert only(rule(), run(1)).verdict is Verdict.CLEAR
