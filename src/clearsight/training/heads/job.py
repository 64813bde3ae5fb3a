"""What a stack of heads is given and what comes out of it: the values around the stacked trainer.

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
from clearsight.training.batches import Order

Floats = npt.NDArray[np.float64]
OnEpoch = Callable[[int, EpochRecord], str]  # (number, what the epoch brought) -> why that head ends, or ""


@dataclass(frozen=True, kw_only=True)
class StackedHead:
    """One head to train: the number that its result carries, and a recipe in which epochs and lr are settled."""

    number: int
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class HeadData:
    """The features on which all heads of a stack train, on the device where they train.

    views: (V, N, D) float; epoch e uses view (e - 1) mod V.  labels: (N,).  order: a seed to the order of its epochs.
    valid: features (Nv, D) and labels (Nv,) of the validation split, where there is one.
    """

    views: Tensor
    labels: npt.NDArray[np.int64]
    order: Callable[[int], Order]
    classes: int
    valid: tuple[Tensor, npt.NDArray[np.int64]] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadResult:
    """How one head's training went, as `training.loop` would have told it.

    loss, accuracy, lr: (S,) of each step that was made; step s (from 0) is of epoch s // steps_per_epoch + 1.
    best_score: what was compared: the monitored score, then minus the loss; None without validation.
    best_state: the head's parameters at the end of the best epoch, on the CPU; empty when no epoch was the best.
    stopped: what `on_epoch` answered when it ended this head, else "".
    seconds: the head's share of the time of its stack, so that the shares of all add up to the whole.
    """

    number: int
    status: RunStatus
    reason: str
    stopped: str
    steps_per_epoch: int
    loss: Floats
    accuracy: Floats
    lr: Floats
    epochs: tuple[EpochRecord, ...]
    best_epoch: int | None
    best_score: tuple[float, float] | None
    seconds: float
    best_valid: Mapping[str, float] = field(default_factory=dict)
    best_state: Mapping[str, Tensor] = field(default_factory=dict)
