"""DropoutTooHigh: a dropout layer drops nearly everything, and nothing is learned."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from clearsight.core.context import LayerInfo
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.dropout_too_high import DropoutTooHigh
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, facts, only
from tests.debugger.two_lines import Loop, warnings_of

STEPS = 60


def rule() -> DropoutTooHigh:
    return DropoutTooHigh()


def run(rate: float, loss: float = CHANCE) -> Tape:
    layers = (LayerInfo(name="drop", kind="dropout", type="Dropout", rate=rate),)
    return tape(
        loss=batches(falling(CHANCE, loss, STEPS), spread=0.05),
        lr=flat(0.001, STEPS),
        context=facts(layers=layers),
    )


def fault() -> Tape:
    return run(0.95)


def control() -> Tape:
    return run(0.5)


def test_a_network_that_learns_all_the_same_is_clear() -> None:
    assert only(rule(), run(0.95, loss=0.2)).verdict is Verdict.CLEAR


def silenced() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.97), nn.Linear(64, 10))


def test_it_is_named_in_a_loop_on_digits(tmp_path: Path) -> None:
    assert "DropoutTooHigh" in [name for name, _ in warnings_of(Loop(network=silenced).run(tmp_path / "run"))]
