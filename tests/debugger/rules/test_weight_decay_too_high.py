"""WeightDecayTooHigh: the decay is most of an update, and the weights shrink."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.context import OptimizerInfo
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.weight_decay_too_high import WeightDecayTooHigh
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.rules.runs import CHANCE, batches, facts, only
from tests.debugger.two_lines import Loop, warnings_of

STEPS = 60


def rule() -> WeightDecayTooHigh:
    return WeightDecayTooHigh()


def run(decay: float, *, left: float, loss: float = CHANCE, gradient: float = 0.1) -> Tape:
    """Return a run by SGD whose weights shrink from size 10 to `left` of it."""
    sizes = 10 * np.exp(np.linspace(0, np.log(left), STEPS // 10))
    return tape(
        loss=batches(falling(CHANCE, loss, STEPS), spread=0.05),
        lr=flat(0.01, STEPS),
        grad_norm=flat(gradient, STEPS),
        statistics={"weights": {"conv.weight": {"l2": sizes}}},
        every=10,
        context=facts(optimizer="sgd", update=OptimizerInfo(weight_decay=decay, momentum=0.9)),
    )


def fault() -> Tape:
    return run(1.0, left=0.1)


def control() -> Tape:
    return run(1e-4, left=0.98)


def test_the_finding_names_decay_and_shrinkage() -> None:
    finding = only(rule(), fault())
    assert "weight decay of 1 makes up" in finding.cause
    assert "shrunk to 10%" in finding.cause
    assert finding.fix == {"weight_decay": 1e-4}


def test_weights_that_do_not_shrink_and_networks_that_learn_are_clear() -> None:
    assert only(rule(), run(1.0, left=0.95)).verdict is Verdict.CLEAR
    assert only(rule(), run(1.0, left=0.3, loss=0.2)).verdict is Verdict.CLEAR


def test_a_penalty_in_the_loss_shrinks_weights_that_no_decay_explains() -> None:
    finding = only(rule(), run(0.0, left=0.3))
    assert "shrunk to 30%" in finding.cause
    assert "penalty that the loss adds" in finding.advice
    assert only(rule(), run(1e-5, left=0.3)).found
    assert only(rule(), run(0.0, left=0.3, loss=0.2)).verdict is Verdict.CLEAR
    assert only(rule(), run(0.0, left=0.7)).verdict is Verdict.CLEAR


def test_weights_that_became_nan_have_not_shrunk() -> None:
    saved = tape(
        loss=batches(flat(CHANCE, STEPS), spread=0.05),
        lr=flat(0.01, STEPS),
        statistics={"weights": {"conv.weight": {"l2": [10.0, 9.9, 9.8, 9.8, 0.0, 0.0], "nan": [0, 0, 0, 0, 90, 90]}}},
        every=10,
        context=facts(optimizer="sgd", update=OptimizerInfo(weight_decay=0.0, momentum=0.9)),
    )
    assert only(rule(), saved).verdict is Verdict.CLEAR


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1.0)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=30.0)


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=3.0)


@pytest.mark.parametrize("optimizer", [sgd, adamw, adam])
def test_it_is_the_cause_in_a_loop_on_digits(optimizer: object, tmp_path: Path) -> None:
    [(name, _), *_] = warnings_of(Loop(optimizer=optimizer).run(tmp_path / "run"))  # type: ignore[arg-type]
    assert name == "WeightDecayTooHigh"
