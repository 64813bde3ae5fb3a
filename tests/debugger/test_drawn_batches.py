"""Losses written by hand and evaluations without a loss: labels come from the DataLoader, the loss from backward()."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import clearsight
from clearsight.debugger.hook import Hook
from tests.debugger.two_lines import digits, small_cnn

Step = Callable[[nn.Module, Tensor, Tensor], Tensor]


def focal(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of Lin et al. 2017, as people write it."""
    shares = model(images).softmax(1).gather(1, labels[:, None])
    return (-((1 - shares) ** 2) * shares.log()).mean()


def cross_entropy(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(model(images), labels)


def same(batches: Iterable[Any]) -> Iterable[Any]:
    """Return the batches as they come."""
    return batches


def run(out: Path, step: Step, *, outputs: int = 10, change: Callable[[Iterable[Any]], Iterable[Any]] = same) -> Hook:
    """Train for two epochs; validation counts right answers and computes no loss."""
    torch.manual_seed(0)
    (images, labels), valid = digits()
    train_loader = DataLoader(TensorDataset(images[:640], labels[:640]), batch_size=32, shuffle=True)
    valid_loader = DataLoader(TensorDataset(*valid), batch_size=100)
    model = small_cnn()
    model[-1] = nn.Linear(32, outputs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    hook = clearsight.Hook(out, quiet=True, rules="none").watch(model)
    for _ in range(2):
        model.train()
        for batch, targets in change(train_loader):
            optimizer.zero_grad()
            step(model, batch, targets).backward()
            optimizer.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for batch, targets in change(valid_loader):
                right += int((model(batch).argmax(1) == targets).sum())
        accuracy = right / len(valid[1])
    hook.close()
    assert hook.failure is None
    predictions = hook.tape.predictions("eval")
    if len(predictions.labels):
        last = slice(-len(valid[1]), None)
        assert np.mean(predictions.labels[last] == predictions.predictions[last]) == pytest.approx(accuracy)
    return hook


def test_a_loss_written_by_hand_is_that_of_its_backward(tmp_path: Path) -> None:
    hook = run(tmp_path / "run", focal)
    loss = hook.tape.scalar("loss")
    assert loss.steps.tolist() == list(range(1, 41))
    assert loss.values[0] > 1.5 > 0.7 > loss.values[-1]
    assert len(hook.tape.predictions().labels) >= 600  # all but the first batches, until each digit was seen
    assert len(hook.tape.predictions("eval").labels) == 600


def test_an_evaluation_without_a_loss_has_accuracy_and_the_loss_that_is_trained(tmp_path: Path) -> None:
    hook = run(tmp_path / "run", cross_entropy)
    accuracy, loss = (hook.tape.scalar(name, "eval") for name in ("accuracy", "loss"))
    assert len(accuracy.values) == len(loss.values) == 6
    assert np.all(np.isfinite(loss.values))
    assert len(hook.tape.scalar("loss").values) == 40  # each once


def test_outputs_that_are_no_classes_give_no_predictions(tmp_path: Path) -> None:
    def pull_together(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Contrastive loss of Hadsell et al. 2006 on pairs of the batch."""
        first, second = model(images).chunk(2)
        distance = (first - second).norm(dim=1)
        equal = labels[: len(first)] == labels[len(first) :]
        return torch.where(equal, distance, (2 - distance).clamp(min=0)).square().mean()

    hook = run(tmp_path / "run", pull_together, outputs=24)
    assert not len(hook.tape.predictions().labels)
    assert not len(hook.tape.predictions("eval").labels)
    assert len(hook.tape.scalar("loss").values) == 40


def test_a_batch_drawn_ahead_of_the_one_that_is_used_gives_no_labels(tmp_path: Path) -> None:
    def ahead(batches: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(batches)
        current = next(iterator)
        for following in iterator:
            yield current
            current = following
        yield current

    hook = run(tmp_path / "run", focal, change=ahead)
    assert len(hook.tape.scalar("loss").values) == 40
    assert not len(hook.tape.predictions().labels)


def test_the_loss_of_a_gradient_scaler_is_the_one_before_scaling(tmp_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    class Scaled:
        def __init__(self, loss: Tensor) -> None:
            self._loss = scaler.scale(loss)

        def backward(self) -> None:
            self._loss.backward()

    hook = run(tmp_path / "run", lambda model, images, labels: Scaled(focal(model, images, labels)))  # type: ignore[arg-type,return-value]
    assert hook.tape.scalar("loss").values.max() < 10
