"""Watcher: what looks over the loop's shoulder, at the model itself and not only at the numbers that come out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
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


class Stopwatch(Protocol):
    """Told by the loop what it does. Phases may nest: the time of an inner one is not the outer one's.

    Used from the training thread alone. No method raises.
    """

    def phase(self, name: str) -> AbstractContextManager[object]:
        """Within the block the step is in a phase of `core.profile.PHASES`."""
        ...

    def stretch(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        """Within the block something outside of training steps is done, one of `core.profile.STRETCHES`."""
        ...

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        """The images (N, S, S, 3) of the step under way."""
        ...

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A training step has ended; the next one begins with the first phase after this."""
        ...

    def cut(self) -> None:
        """No step came of what was done since the last one."""
        ...


class NullStopwatch:
    """The stopwatch that measures nothing."""

    def phase(self, name: str) -> AbstractContextManager[object]:
        return _NOTHING

    def stretch(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        return _NOTHING

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        """Nothing to see."""

    def step(self, step: int, epoch: int, samples: int) -> None:
        """Nothing to note."""

    def cut(self) -> None:
        """Nothing to forget."""


_NOTHING = nullcontext()
