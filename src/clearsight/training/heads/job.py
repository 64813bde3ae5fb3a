"""StackedHead, HeadData and HeadResult: what the trainer of stacked heads is given, and what it returns.

K heads, V views, N images, D features, C classes, S optimizer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopReason
from clearsight.training.batches import Order

Floats = npt.NDArray[np.float64]
OnEpoch = Callable[[int, EpochRecord], StopReason | None]  # (number, epoch) -> why that head must end, or None


@dataclass(frozen=True, kw_only=True)
class StackedHead:
    """One head to train: the number that its result carries, and a recipe with epochs and lr set."""

    number: int
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class HeadData:
    """Features on which all heads of a stack train, on the device where they train.

    views: (V, N, D) float; epoch e uses view (e - 1) mod V.  labels: (N,).  order: maps a seed to the order of its
    epochs.  valid: features (Nv, D) and labels (Nv,) of the validation split, None without one.
    """

    views: Tensor
    labels: npt.NDArray[np.int64]
    order: Callable[[int], Order]
    classes: int
    valid: tuple[Tensor, npt.NDArray[np.int64]] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadResult:
    """Outcome of one head's training, as `training.loop` would give it.

    loss, accuracy, lr: (S,) of each step; step s (from 0) is of epoch s // steps_per_epoch + 1.
    best_score: what was compared: the monitored score, then minus the loss; None without validation.
    best_state: the head's parameters at the end of the best epoch, on the CPU; empty when no epoch was the best.
    stop: why it ended before its last epoch; None where it did not.
    seconds: the head's share of the time of its stack, so that the shares of all heads add up to the whole.
    """

    number: int
    status: RunStatus
    stop: StopReason | None
    steps_per_epoch: int  # 0 when no step was taken
    loss: Floats
    accuracy: Floats
    lr: Floats
    epochs: tuple[EpochRecord, ...]
    best_epoch: int | None
    best_score: tuple[float, float] | None
    seconds: float
    best_valid: Mapping[str, float] = field(default_factory=dict)
    best_state: Mapping[str, Tensor] = field(default_factory=dict)
