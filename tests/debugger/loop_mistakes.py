"""Losses and training steps of loops, most of them with a mistake."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.debugger.loop_styles import CLASSES, step


def binary(labels: Tensor) -> Tensor:
    return (labels > 1).float()


def weighted(weight: float) -> Any:
    """Return a binary loss in which labels 1, half of all, weigh so many times as much."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            outputs[:, 0], binary(labels), pos_weight=torch.tensor([weight])
        )

    return loss


def smoothed(share: float) -> Any:
    """Return a loss with labels that are smoothed by hand, to a share of their own class."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        shares = torch.full_like(outputs.detach(), (1 - share) / (CLASSES - 1))
        return functional.cross_entropy(outputs, shares.scatter(1, labels[:, None], share))

    return loss


def with_margin(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of outputs with a margin, which takes 6 from that of the own class (LDAM, Cao 2019)."""
    return functional.cross_entropy(outputs - 6 * functional.one_hot(labels, CLASSES), labels)


class OwnBinaryLoss(nn.Module):
    """A binary cross entropy as people write it themselves."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return -(labels * functional.logsigmoid(outputs) + (1 - labels) * functional.logsigmoid(-outputs)).mean()


class OwnFocalLoss(nn.Module):
    """A focal loss as people write it themselves."""

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        share = torch.sigmoid(outputs).clamp(1e-6, 1 - 1e-6)
        return -(labels * (1 - share) ** 2 * share.log() + (1 - labels) * share**2 * (1 - share).log()).mean()


class OwnFocalLossOfRows(OwnFocalLoss):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs.squeeze(1), labels)


class OwnBinaryLossOfRows(OwnBinaryLoss):
    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return super().forward(outputs.squeeze(1), labels)


# Steps with a mistake


def with_two_classes(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    step(model, loss, optimizer, images, binary(labels))


def without_step(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    loss(model(images), labels).backward()


def cleared_before_step(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    loss(model(images), labels).backward()
    optimizer.zero_grad()
    optimizer.step()


def zeroed_before_step(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    loss(model(images), labels).backward()
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()


def detached(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    loss(model(images), labels).detach().requires_grad_().backward()
    optimizer.step()


def maximised(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    (-loss(model(images), labels)).backward()
    optimizer.step()


def divided_again(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    (loss(model(images), labels) / len(images)).backward()
    optimizer.step()


class Mixup:
    """Mixes images, and the labels too where `labels` is True (Zhang et al. 2018)."""

    def __init__(self, *, labels: bool) -> None:
        self._labels, self._draw = labels, torch.Generator().manual_seed(0)

    def __call__(self, model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        share, order = 0.6, torch.randperm(len(images), generator=self._draw)
        outputs = model(share * images + (1 - share) * images[order])
        value = loss(outputs, labels)
        if self._labels:
            value = share * value + (1 - share) * loss(outputs, labels[order])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


class StepOncePer:
    """Clears in every batch and steps in every `batches`-th, or accumulates where `clears` is False."""

    def __init__(self, batches: int, *, clears: bool) -> None:
        self._batches, self._clears, self._seen = batches, clears, 0

    def __call__(self, model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        self._seen += 1
        if self._clears:
            optimizer.zero_grad()
        (loss(model(images), labels) / (1 if self._clears else self._batches)).backward()
        if self._seen % self._batches == 0:
            optimizer.step()
            if not self._clears:
                optimizer.zero_grad()


class Distilled:
    """Trains on what a teacher says, which is the label most of the time, at a temperature of 4."""

    def __init__(self, reduction: str) -> None:
        self._reduction = reduction

    def __call__(self, model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        said = functional.softmax(4.0 * functional.one_hot(labels, CLASSES) / 4.0, 1)
        outputs = model(images)
        soft = functional.kl_div(functional.log_softmax(outputs / 4.0, 1), said, reduction=self._reduction)
        optimizer.zero_grad()
        (0.7 * 16 * soft + 0.3 * loss(outputs, labels)).backward()
        optimizer.step()


class OneBatchForEver:
    """Trains on the first batch in every step."""

    def __init__(self) -> None:
        self._batch: tuple[Tensor, Tensor] | None = None

    def __call__(self, model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
        self._batch = self._batch or (images, labels)
        step(model, loss, optimizer, *self._batch)


def shifted_labels(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    step(model, loss, optimizer, images, labels + 1)


def equal_labels(model: Any, loss: Any, optimizer: Any, images: Tensor, labels: Tensor) -> None:
    step(model, loss, optimizer, images, torch.full_like(labels, 2))
