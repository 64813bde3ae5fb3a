"""StackedHead, HeadData and HeadResult: what the trainer of stacked heads is given and returns; HeadProgress between.

K heads, V views, N images, D features, C classes, S optimizer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.stop import StopReason
from clearsight.training.batches import Order
from clearsight.training.job import EpochSelection
from clearsight.training.step import diverged

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


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadEpoch:
    """One epoch of one head, with S steps. loss, accuracy, lr: (S,).  samples: (S,) images in each step.

    valid: scores on the validation split, {} without one.  seconds: the head's share of the epoch's time.
    """

    loss: Floats
    accuracy: Floats
    lr: Floats
    samples: Floats
    valid: Mapping[str, float]
    seconds: float


@dataclass
class HeadProgress:
    """State of one head between two epochs; `status` is RUNNING until it ends.

    stop: why it ended early.  steps: of each epoch, the last one cut off where the loss was not finite.
    epochs: the records of whole epochs.
    """

    head: StackedHead
    status: RunStatus = RunStatus.RUNNING
    stop: StopReason | None = None
    steps: list[HeadEpoch] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)
    selection: EpochSelection = field(default_factory=EpochSelection)
    best_state: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0  # of all epochs, as shares of the stack's time

    @property
    def running(self) -> bool:
        """Return True if an epoch is left to train."""
        return self.status is RunStatus.RUNNING

    @property
    def recipe(self) -> Recipe:
        return self.head.recipe

    def end(self, status: RunStatus, stop: StopReason | None = None) -> None:
        self.status, self.stop = status, stop

    def add(self, epoch: HeadEpoch, state: Callable[[], Mapping[str, Tensor]], on_epoch: OnEpoch | None) -> None:
        """Add an epoch. state: returns the weights after it; called only if the epoch is the best so far."""
        self.seconds += epoch.seconds
        not_finite = np.flatnonzero(~np.isfinite(epoch.loss))
        if len(not_finite):
            self._diverge(epoch, int(not_finite[0]))
            return
        self.steps.append(epoch)
        number = len(self.epochs) + 1
        best = self.selection.add(number, epoch.valid, self.recipe.train.monitor)
        if best:
            self.best_state = state()
        self.epochs.append(self._record(number, epoch, best))
        self._continue_or_end(on_epoch(self.head.number, self.epochs[-1]) if on_epoch else None)

    def result(self) -> HeadResult:
        none: Floats = np.empty(0)  # a head may have taken no step
        return HeadResult(
            number=self.head.number,
            status=self.status,
            stop=self.stop,
            steps_per_epoch=len(self.steps[0].samples) if self.steps else 0,
            loss=np.concatenate([none, *(epoch.loss for epoch in self.steps)]),
            accuracy=np.concatenate([none, *(epoch.accuracy for epoch in self.steps)]),
            lr=np.concatenate([none, *(epoch.lr for epoch in self.steps)]),
            epochs=tuple(self.epochs),
            best_epoch=self.selection.best_epoch or None,  # 0: no epoch was the best
            best_score=self.selection.best_score,
            seconds=self.seconds,
            best_valid=self.selection.best_valid,
            best_state=self.best_state,
        )

    def _diverge(self, epoch: HeadEpoch, at: int) -> None:
        """End at the step (from 0) whose loss is not finite: the steps that the stack took after it are left out."""
        taken = {name: getattr(epoch, name)[: at + 1] for name in ("loss", "accuracy", "lr")}
        self.steps.append(replace(epoch, **taken, valid={}))  # `samples` stays whole: it tells S
        step = len(self.epochs) * len(epoch.samples) + at + 1
        self.end(RunStatus.DIVERGED, diverged(float(epoch.loss[at]), step, len(self.epochs) + 1))

    def _record(self, number: int, epoch: HeadEpoch, best: bool) -> EpochRecord:
        samples, scores = float(epoch.samples.sum()), {"loss": epoch.loss, "accuracy": epoch.accuracy}
        return EpochRecord(
            epoch=number,
            epochs=self.recipe.train.resolved_epochs,
            step=number * len(epoch.samples),
            lr=float(epoch.lr[-1]),
            train={name: float(each @ epoch.samples) / samples for name, each in scores.items()},
            valid=epoch.valid,
            images_per_second=samples / max(epoch.seconds, 1e-9),  # a clock may not move in a tiny epoch
            data_share=0.0,  # features are in memory: there is nothing to wait for
            seconds=epoch.seconds,
            best=best,
        )

    def _continue_or_end(self, stop: StopReason | None) -> None:
        train = self.recipe.train
        is_last = len(self.epochs) == train.resolved_epochs
        if is_last:
            stop = None  # after the last epoch there is nothing left to stop
        stop = stop or self.selection.patience_stop(train)
        if stop is not None:
            self.end(RunStatus.STOPPED_EARLY, stop)
        elif is_last:
            self.end(RunStatus.COMPLETED)


def finish(heads: Sequence[HeadProgress], interrupted: StopReason | None) -> list[HeadResult]:
    """Return the results of all heads; those that were still training are interrupted for this reason."""
    for head in heads:
        if head.running:
            head.end(RunStatus.INTERRUPTED, interrupted)
    return [head.result() for head in heads]
