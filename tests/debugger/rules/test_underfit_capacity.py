"""UnderfitCapacity: a loss that settles high, validation as good, and few weights that learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.underfit_capacity import UnderfitCapacity
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, FROZEN, HEAD, batches, facts, only

EPOCHS, PER_EPOCH = 10, 20
STEPS = EPOCHS * PER_EPOCH
PLATEAU = np.r_[np.linspace(CHANCE, 1.7, 40), flat(1.7, STEPS - 40)]


def rule() -> UnderfitCapacity:
    return UnderfitCapacity()


def probe(**more: Any) -> RunContext:
    """Return the context of a head behind a frozen backbone."""
    return facts(steps=STEPS, parameters=(FROZEN, HEAD), settings={"freeze": "backbone"}, **more)


def run(loss: Any = PLATEAU, valid: Any = 1.72, known: RunContext | None = None, **more: Any) -> Tape:
    scores = np.broadcast_to(np.asarray(valid, float), EPOCHS)
    scalars: dict[str, Any] = {"lr": flat(1e-3, STEPS), "update_ratio": flat(1e-2, STEPS)} | more
    return tape(
        loss=batches(loss, spread=0.08),
        valid={"loss": scores},
        per_epoch=PER_EPOCH,
        context=known or probe(),
        **scalars,
    )


def fault() -> Tape:
    return run()


def control() -> Tape:
    return run(falling(CHANCE, 0.3, STEPS), falling(CHANCE, 0.4, EPOCHS))


def test_found_when_a_head_alone_settles_high() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.fix == {"freeze": "none"}
    assert "only the head learns" in finding.cause


def test_a_rate_fit_for_a_head_is_lowered_with_it() -> None:
    assert only(rule(), run(known=probe(lr=5e-3))).fix == {"freeze": "none", "lr": 1e-3}


def test_clear_when_it_learns() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_clear_when_it_settles_at_a_fair_loss() -> None:
    loss = np.r_[np.linspace(CHANCE, 0.9, 40), flat(0.9, STEPS - 40)]
    assert only(rule(), run(loss, 0.95)).verdict is Verdict.CLEAR


def test_clear_while_the_loss_falls() -> None:
    assert only(rule(), run(np.linspace(CHANCE, 1.5, STEPS))).verdict is Verdict.CLEAR


def test_a_large_network_that_learns_as_a_whole_is_clear() -> None:
    assert only(rule(), run(known=facts(steps=STEPS))).verdict is Verdict.CLEAR


def test_a_tiny_network_is_found_and_advised() -> None:
    small = ParameterInfo(
        name="conv.weight", layer="conv", shape=(8, 3, 3, 3), kind="weight", trainable=True, optimized=True
    )
    finding = only(rule(), run(known=facts(steps=STEPS, parameters=(small, HEAD))))
    assert finding.found
    assert "only 856 weights learn" in finding.cause
    assert not finding.fix
    assert finding.advice


def test_clear_when_validation_is_much_worse() -> None:
    assert only(rule(), run(valid=2.4)).verdict is Verdict.CLEAR


def test_nothing_learned_is_clear() -> None:
    assert only(rule(), run(flat(CHANCE, STEPS), CHANCE)).verdict is Verdict.CLEAR


def test_updates_that_are_too_small_are_clear() -> None:
    assert only(rule(), run(update_ratio=flat(1e-6, STEPS))).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = only(rule(), fault().until(2 * PER_EPOCH))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (2, 4)
    early = only(rule(), fault().until(4 * PER_EPOCH))
    assert early.verdict is Verdict.NOT_ENOUGH_DATA
    assert "working rate" in early.cause
