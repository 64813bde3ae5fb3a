"""Order of the arguments of a loss: labels in the place of the outputs, by mistake or as the loss is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from clearsight.debugger.hook import Hook
from tests.debugger.loop_styles import CLASSES, digits, network, sgd

TRAIN, BATCH, EPOCHS = 480, 24, 2


def causes(hook: Hook) -> str:
    """Return what LossInputMismatch has found."""
    found = [finding for finding in hook.findings if finding.found and finding.rule == "LossInputMismatch"]
    return "; ".join(finding.cause for finding in found)


def soft(labels: Tensor) -> Tensor:
    return 0.9 * functional.one_hot(labels, CLASSES).float() + 0.1 / CLASSES


class Smoothed(nn.Module):
    """Cross entropy of outputs and soft labels, as people write it themselves."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return -(labels * outputs.log_softmax(1)).sum(1).mean()


class TargetsFirst(nn.Module):
    """The same in Keras' order."""

    def forward(self, labels: Tensor, outputs: Tensor) -> Tensor:
        return -(labels * outputs.log_softmax(1)).sum(1).mean()


def with_loss(folder: Path, loss: nn.Module, value: Callable[[Any, Tensor, Tensor], Tensor]) -> Hook:
    """Train with a loss that is watched."""
    torch.manual_seed(1)
    model = network()
    optimizer = sgd(model)
    hook = Hook(folder / "mine", quiet=True).watch(model, loss=loss, optimizer=optimizer)
    for _ in range(EPOCHS):
        for images, labels in DataLoader(digits(0, TRAIN), BATCH, shuffle=True):
            optimizer.zero_grad()
            value(loss, model(images), soft(labels)).backward()
            optimizer.step()
    hook.close()
    assert hook.failure is None
    return hook


@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), Smoothed()], ids=["cross entropy", "binary", "own"]
)
def test_a_loss_that_gets_the_labels_first_is_named(tmp_path: Path, loss: nn.Module) -> None:
    swapped = with_loss(tmp_path / "swapped", loss, lambda loss, outputs, labels: loss(labels, outputs))
    right = with_loss(tmp_path / "right", loss, lambda loss, outputs, labels: loss(outputs, labels))
    assert "gets the labels first" in causes(swapped)
    assert swapped.findings[0].rule == "LossInputMismatch"
    assert "labels first" not in causes(right)


def test_a_loss_that_is_made_for_labels_first_is_clear_and_its_predictions_are_known(tmp_path: Path) -> None:
    hook = with_loss(tmp_path, TargetsFirst(), lambda loss, outputs, labels: loss(labels, outputs))
    table = hook.tape.predictions()
    assert not causes(hook)
    assert len(table) == EPOCHS * TRAIN
    assert set(table.labels.tolist()) == set(range(CLASSES))
    assert hook.tape.scalar("accuracy").values[-5:].mean() > 0.8


def test_a_distance_and_a_reverse_divergence_have_no_wrong_order(tmp_path: Path) -> None:
    def distance(loss: Any, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.mse_loss(labels, outputs)

    def reverse(loss: Any, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.kl_div(labels.log(), outputs.softmax(1), reduction="batchmean")

    hooks = [with_loss(tmp_path / value.__name__, nn.Identity(), value) for value in (distance, reverse)]
    assert ["first" in causes(hook) for hook in hooks] == [False, False]
