"""Protocols of what looks on from inside the loop: ModelWatcher sees the model, Stopwatch times the phases of steps.

Both have a null object, so that the loop never asks whether there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class ModelWatcher(Protocol):
    """Receives the model, its logits and the position of the loop. It must not change what is computed: the weights
    are equal with and without it.

    No method raises: a watcher that fails turns itself off and reports it.
    """

    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        """Return a context within which the phase trains this model with this optimizer."""

    def before_step(self, step: int, epoch: int) -> None:
        """Called before the forward passes of optimizer step `step`, counting from 1 over the run."""

    def after_forward(self, logits: Any, labels: Any, indices: Any) -> None:
        """Called after a forward pass and before its backward: logits (N, C), labels (N,), indices (N,) into the split.

        In evaluation called once, with the whole split.
        """

    def after_step(self) -> Mapping[str, float | Tensor]:
        """Return further scalars of the optimizer step that has just been taken, such as the gradient norm."""

    def before_validation(self, epoch: int, step: int) -> None:
        """Called before the validation at the end of an epoch, after `step` optimizer steps."""


class Stopwatch(Protocol):
    """Times the phases of training steps. Phases may nest: the time of an inner one is not the outer one's.

    Used from the training thread alone. No method raises.
    """

    def phase(self, name: str) -> AbstractContextManager[object]:
        """Return a context within which the step is in a phase of `core.profile.PHASES`."""

    def span(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        """Return a context for work between training steps, one of `core.profile.SPAN_NAMES`."""

    def note_images(self, images: npt.NDArray[np.uint8]) -> None:
        """Called with the images (N, S, S, 3) of the step under way."""

    def step(self, step: int, epoch: int, samples: int) -> None:
        """End a training step; the next one begins with the first phase after this."""

    def cut(self) -> None:
        """Drop the phases since the last step: they led to none."""


_DO_NOTHING = nullcontext()  # one object for all: a null stopwatch is asked several times in every step


class NullModelWatcher:
    """Model watcher that does nothing."""

    def watching(self, phase: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> AbstractContextManager[None]:
        return _DO_NOTHING

    def after_step(self) -> Mapping[str, float | Tensor]:
        return {}  # no further scalars

    def before_step(self, step: int, epoch: int) -> None: ...
    def after_forward(self, logits: Any, labels: Any, indices: Any) -> None: ...
    def before_validation(self, epoch: int, step: int) -> None: ...


class NullStopwatch:
    """Stopwatch that measures nothing."""

    def phase(self, name: str) -> AbstractContextManager[object]:
        return _DO_NOTHING

    def span(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        return _DO_NOTHING

    def note_images(self, images: npt.NDArray[np.uint8]) -> None: ...
    def step(self, step: int, epoch: int, samples: int) -> None: ...
    def cut(self) -> None: ...
