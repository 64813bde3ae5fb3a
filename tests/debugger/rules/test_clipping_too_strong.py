"""ClippingTooStrong: the optimizer gets a small part of the gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.clipping_too_strong import ClippingTooStrong
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.loop_styles import Loop, network, roots
from tests.debugger.rules.runs import CHANCE, batches, facts, only

STEPS = 60


def rule() -> ClippingTooStrong:
    return ClippingTooStrong()


def run(left: float, *, loss: float = CHANCE, optimizer: str = "sgd", factor: float = 0.0) -> Tape:
    every_tenth = np.where(np.arange(STEPS) % 10 == 0, left, np.nan)
    return tape(
        loss=batches(falling(CHANCE, loss, STEPS), spread=0.05),
        lr=flat(0.01, STEPS),
        clip_ratio=every_tenth,
        context=facts(optimizer=optimizer, loop=LoopInfo(loss_factor=factor)),
    )


def fault() -> Tape:
    return run(1e-4)


def control() -> Tape:
    return run(0.4)


def test_adam_networks_that_learn_and_scaled_losses_are_clear() -> None:
    clear = [run(1e-4, optimizer="adamw"), run(1e-4, loss=0.2), run(1 / 65536, factor=65536.0)]
    assert [only(rule(), saved).verdict for saved in clear] == [Verdict.CLEAR] * 3


@pytest.mark.parametrize(("limit", "found"), [(1e-5, True), (5.0, False)])
def test_a_clipped_loop_on_digits(limit: float, found: bool, tmp_path: Path) -> None:
    def step(
        model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
    ) -> None:
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()

    assert ("ClippingTooStrong" in roots(Loop(model=network(), step=step).tutorial(tmp_path))) is found
