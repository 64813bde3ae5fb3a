"""What a training run is given, where it stands, and how it ended: the values around the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from clearsight.core.events import Observer, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.training.batches import Batches
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.distributed import World
from clearsight.training.optim import ParameterGroup
from clearsight.training.protocols import ModelWatcher, NullModelWatcher, NullStopwatch, Stopwatch
from clearsight.training.stop import StopSignal


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of epochs in which the same parameters train on the same batches.

    model: called on a batch's inputs.  enter: freezes what is frozen and gives the parameter groups.  train_mode: puts
    the model into training mode, but for what is frozen.
    """

    name: str
    epochs: int
    model: nn.Module
    train: Batches
    valid: Batches | None
    enter: Callable[[], Sequence[ParameterGroup]]
    train_mode: Callable[[], None]
    cached: bool = False  # whether the batches are features of a frozen part, computed once


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """All a training run needs. `network` is the whole model, of which checkpoints store what changes."""

    network: nn.Module
    phases: Sequence[Phase]
    recipe: Recipe
    checkpoints: Checkpoints
    observers: Sequence[Observer]
    stop: StopSignal
    world: World
    device: torch.device
    precision: str = "fp32"  # fp32 | bf16 | fp16
    class_weights: npt.NDArray[np.float32] | None = None
    watcher: ModelWatcher = field(default_factory=NullModelWatcher)
    stopwatch: Stopwatch = field(default_factory=NullStopwatch)


@dataclass
class TrainingPosition:
    """Where a run stands. `batch` counts within the epoch, `phase_step` optimizer steps within the phase."""

    epoch: int = 1
    batch: int = 0
    step: int = 0
    phase_step: int = 0
    best_epoch: int = 0
    best_score: tuple[float, float] | None = None  # monitored score, then minus the loss: accuracy alone often ties
    best_valid: dict[str, float] = field(default_factory=dict)
    stale: int = 0  # epochs of this phase without a better score
    loss: float = 0.0  # sums over the epoch so far
    right: float = 0.0
    samples: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How training ended. images_per_second counts images trained on over the time spent in training epochs."""

    status: RunStatus
    reason: str
    best_epoch: int | None
    valid: Mapping[str, float]
    images_per_second: float | None
