"""AveragingTooSlow: averaged weights that are evaluated are still near the initial ones."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import clearsight
from clearsight.core.context import LoopInfo
from clearsight.core.finding import Severity
from clearsight.debugger.rules.averaging_too_slow import AveragingTooSlow
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, tape
from tests.debugger.loop_styles import digits, network, roots
from tests.debugger.rules.runs import CHANCE, batches, facts, only

STEPS = 60


class OwnType(nn.Sequential):
    """Copies are found by their type, and other tests keep trained ones of the same start in memory."""


def rule() -> AveragingTooSlow:
    return AveragingTooSlow()


def run(averaged: float) -> Tape:
    return tape(
        loss=batches(falling(CHANCE, 0.3, STEPS), spread=0.05),
        lr=flat(0.001, STEPS),
        context=facts(loop=LoopInfo(averaged=averaged)),
    )


def fault() -> Tape:
    return run(0.01)


def control() -> Tape:
    return run(0.9)


def test_the_advice_fits_the_length_of_the_run() -> None:
    assert "0.833 or less" in only(rule(), fault()).advice


def test_an_average_that_is_behind_is_a_warning() -> None:
    assert only(rule(), run(0.5)).severity is Severity.WARNING
    assert only(rule(), fault()).severity is Severity.SEVERE


@pytest.mark.parametrize(("rise", "is_found"), [(0.0, True), (0.01, False)])
def test_evaluations_that_repeat_a_number_are_those_of_a_copy_that_nothing_updates(rise: float, is_found: bool) -> None:
    losses, context = batches(falling(CHANCE, 0.3, STEPS), spread=0.05), facts(loop=LoopInfo())
    saved = tape(loss=losses, valid={"loss": [2.3 + rise * place for place in range(6)]}, context=context)
    finding = only(rule(), saved)
    assert finding.found is is_found
    assert ("another model than the trained one is evaluated" in finding.cause) is is_found


@pytest.mark.parametrize("kind", ["torch", "copy"])
@pytest.mark.parametrize(("decay", "found"), [(0.9999, True), (0.8, False)])
def test_an_average_that_a_loop_evaluates(kind: str, decay: float, found: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = OwnType(*network())
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    hook = clearsight.Hook(tmp_path / "run", quiet=True).watch(model, optimizer=optimizer)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if kind == "torch" else None
    own = copy.deepcopy(model)
    earlier = copy.deepcopy(model).eval()  # an average of a training before, which a notebook keeps
    for _ in range(3):
        model.train()
        for images, labels in DataLoader(digits(0, 192), 16, shuffle=True):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            if averaged is not None:
                averaged.update_parameters(model)
            else:
                for mean, new in zip(own.state_dict().values(), model.state_dict().values(), strict=True):
                    mean.copy_(mean * decay + new * (1 - decay))
        evaluated = averaged or own
        evaluated.eval()
        with torch.no_grad():
            for images, _ in DataLoader(digits(200, 96), 32):
                evaluated(images)
    with torch.no_grad():
        for mean, new in zip(earlier.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, 1e-4)
    hook.close()
    assert hook.failure is None
    assert ("AveragingTooSlow" in roots(hook)) is found


@pytest.mark.parametrize("buffers", [False, True])
def test_an_average_by_hand_needs_the_buffers_too(buffers: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = OwnType(*network())
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    average = copy.deepcopy(model).eval()
    hook = clearsight.Hook(tmp_path / "run", quiet=True).watch(model, optimizer=optimizer)
    for _ in range(3):
        for images, labels in DataLoader(digits(0, 192), 16, shuffle=True):
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            with torch.no_grad():
                for mean, new in zip(average.parameters(), model.parameters(), strict=True):
                    mean.lerp_(new, 0.3)
            for mean, new in zip(average.buffers(), model.buffers(), strict=True):
                mean.copy_(new if buffers else mean)
        with torch.no_grad():
            for images, labels in DataLoader(digits(200, 96), 32):
                functional.cross_entropy(average(images), labels)
    hook.close()
    causes = [finding.cause for finding in hook.findings if finding.found and finding.rule == "AveragingTooSlow"]
    assert ["its buffers are not" in cause for cause in causes] == ([] if buffers else [True])
    # Its images come from the loader, since the average has no hooks.
    assert len(hook.tape.raw("image_statistics", "eval")) > 0
