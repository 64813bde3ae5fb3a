"""Watcher: what looks over the loop's shoulder, at the model itself and not only at the numbers that come out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class ModelWatcher(Protocol):
    """Told by the loop where it is. It must not change what is computed: weights are equal with and without it.

    No method raises: a watcher that fails leaves the run alone and says so itself.
    """

    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        """Within the block the phase trains this model with this optimizer."""
        ...

    def step(self, step: int, epoch: int) -> None:
        """Called before the forward passes of optimizer step `step`, counting from 1 over the run."""
        ...

    def answered(self, logits: Any, labels: Any, indices: Any) -> None:
        """Called after a forward pass and before its backward: logits (N, C), labels (N,), indices (N,) into the split.

        In evaluation called once, with the whole split.
        """
        ...

    def stepped(self) -> Mapping[str, float | Tensor]:
        """Called after the optimizer step; returns further scalars of the step, such as the gradient norm."""
        ...

    def evaluating(self, epoch: int, step: int) -> None:
        """Called before the validation at the end of an epoch, after `step` optimizer steps."""
        ...


class NullModelWatcher:
    """The watcher that sees nothing."""

    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        return nullcontext()

    def step(self, step: int, epoch: int) -> None:
        """Nothing to see."""

    def answered(self, logits: Any, labels: Any, indices: Any) -> None:
        """Nothing to see."""

    def stepped(self) -> Mapping[str, float | Tensor]:
        return {}

    def evaluating(self, epoch: int, step: int) -> None:
        """Nothing to see."""
