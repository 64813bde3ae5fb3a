"""TrainingJob and TrainingResult: what the loop is given and what it returns; TrainingPosition in between.

EpochSelection, the best epoch and the end of patience, is the same rule for the loop and for stacked heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from clearsight.core.events import Observer, RunStatus
from clearsight.core.recipe import Recipe, TrainSection
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.batches import Batches
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.distributed import World
from clearsight.training.optim import ParameterGroup
from clearsight.training.paired_gain import PairedGain
from clearsight.training.protocols import ModelWatcher, NullModelWatcher, NullStopwatch, Stopwatch
from clearsight.training.stop import StopSignal


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Epochs in which the same parameters train on the same batches.

    model: called with the inputs of a batch.  enter: freezes what the phase does not train and returns the parameter
    groups of the rest.  train_mode: puts the model into training mode, except for its frozen part.
    cached: True if the batches are features of a frozen part, computed once.
    drops_image: True if every epoch leaves out one image, which would be a batch by itself.
    begin: changes the weights before the first step of the phase. A training that was interrupted right before that
    step calls it again, so its result may depend on nothing that the phases before it trained.
    reason_against: given the validation scores of the best epoch so far ({} without one), returns why the phase is left
    out, as a sentence; "" to train it. It is asked once, before the first step, so it may depend on these scores alone.
    only_clear_gain: True if an epoch of the phase replaces the best one of earlier phases only if it is better than
    that one, and better than their last epoch by more than a standard error (`PairedGain`): the earlier model is
    simpler. The last one, since the best of many epochs owes a part of its score to chance, and so does the best of
    this phase: the standard error makes up for that.
    """

    name: str
    epochs: int
    model: nn.Module
    train: Batches
    valid: Batches | None
    enter: Callable[[], Sequence[ParameterGroup]]
    train_mode: Callable[[], None]
    cached: bool = False
    drops_image: bool = False
    begin: Callable[[], None] | None = None
    reason_against: Callable[[Mapping[str, float]], str] = lambda valid: ""
    only_clear_gain: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Everything that a training needs.

    network: the whole model; checkpoints store the tensors of it that some phase changes.
    precision: "fp32", "bf16" or "fp16".  class_weights: (C,), None for equal weights.
    last_epoch: ends the training after it, while the schedule is that of all epochs; None for all of them.
    """

    network: nn.Module
    phases: Sequence[Phase]
    recipe: Recipe
    checkpoints: Checkpoints
    observers: Sequence[Observer]
    stop: StopSignal
    world: World
    device: torch.device  # where the network is already
    precision: str = "fp32"
    class_weights: npt.NDArray[np.float32] | None = None
    watcher: ModelWatcher = field(default_factory=NullModelWatcher)
    stopwatch: Stopwatch = field(default_factory=NullStopwatch)
    last_epoch: int | None = None

    @property
    def epochs(self) -> int:
        """Return the epochs to train."""
        planned = sum(phase.epochs for phase in self.phases)
        return planned if self.last_epoch is None else min(planned, self.last_epoch)

    def steps_per_epoch(self, phase: Phase) -> int:
        return -(-phase.train.steps // self.recipe.optim.accumulate)  # the last step may have fewer batches


_GAIN = ("gain", "gain_epoch", "gain_score")  # fields of a selection that checkpoints store where there is a gain


@dataclass
class EpochSelection:
    """Best epoch by its validation scores.

    best_epoch: counts from 1; 0 before any epoch was the best.  best_valid: its validation scores.
    best_score: what was compared: the monitored score, then minus the loss, since accuracies often tie.
    stale: epochs since the last better one.
    gain: of the best epoch of a phase with `only_clear_gain` over the last one before it; None before such an epoch.
    gain_epoch, gain_score: that epoch, and what was compared of it, as best_score.
    reference: (N, C) validation logits of the last epoch before that phase, to which its epochs are compared; None
    without such a phase.

    A tie in both keeps the first epoch: it took less training. Scores that are not finite never win. Without a
    validation split the latest epoch is the best.
    """

    best_epoch: int = 0
    best_score: tuple[float, float] | None = None
    best_valid: Mapping[str, float] = field(default_factory=dict)
    stale: int = 0
    gain: PairedGain | None = None
    gain_epoch: int = 0
    gain_score: tuple[float, float] | None = None
    reference: npt.NDArray[np.float32] | None = None

    def add(self, epoch: int, valid: Mapping[str, float], monitor: str, gain: PairedGain | None = None) -> bool:
        """Count an epoch with these validation scores ({} without a split); return True if it is the best so far.

        monitor: name of the score to compare. One that the split does not have (roc_auc of a single class) falls back
        to the accuracy.  gain: over `reference`, where the epoch must have a clear one; None where it need not.
        """
        if valid:
            # Higher is better in both parts, hence minus the loss.
            value = -valid["loss"] if monitor == "loss" else valid.get(monitor, valid["accuracy"])
            score = (value, -valid["loss"])
            is_finite = all(map(math.isfinite, score))
            is_better = is_finite and (self.best_score is None or score > self.best_score)
            is_best = is_better and (gain is None or gain.is_clear)
            if gain is not None and is_finite and self._note(epoch, gain, score, is_best=is_best):
                self.stale = -1  # progress of its phase, whether or not it is enough to be the best
            if not is_best:
                self.stale += 1
                return False
            self.best_score = score
        self.best_epoch, self.best_valid, self.stale = epoch, valid, 0
        return True

    def _note(self, epoch: int, gain: PairedGain, score: tuple[float, float], *, is_best: bool) -> bool:
        """Keep the gain if it is that of the best epoch of its phase so far; return True if it is."""
        is_higher = self.gain_score is None or score > self.gain_score
        if not is_best and (self.is_gain_used or not is_higher):
            return False
        self.gain, self.gain_epoch, self.gain_score = gain, epoch, score
        return True

    @property
    def is_gain_used(self) -> bool:
        """True if the best epoch is one that needed a clear gain."""
        return self.gain is not None and self.gain_epoch == self.best_epoch

    def patience_stop(self, train: TrainSection) -> StopReason | None:
        """Return the reason to stop once `train.patience` epochs in a row were not better, else None."""
        # After resuming a run that had ended by patience, this gives the same reason again.
        if train.patience is None or self.stale < train.patience:
            return None
        return StopReason(StopKind.PATIENCE, f"no better {train.monitor} in {self.stale} epochs")

    def to_json(self) -> dict[str, Any]:
        """Return everything but `reference`, which is stored as a tensor, and `gain` only where there is one."""
        values = asdict(replace(self, reference=None))
        names = ("best_epoch", "best_score", "best_valid", "stale", *(_GAIN if self.gain else ()))
        return {name: values[name] for name in names}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EpochSelection:
        """Return the selection that `to_json` wrote; other keys are ignored."""
        # JSON has lists in the place of tuples. Checkpoints of earlier versions have no gain.
        score, gain_score = (found and tuple(found) for found in (values["best_score"], values.get("gain_score")))
        gain = PairedGain.from_json(values["gain"]) if values.get("gain") else None
        return cls(
            best_epoch=values["best_epoch"],
            best_score=score,
            best_valid=values["best_valid"],
            stale=values["stale"],
            gain=gain,
            gain_epoch=values.get("gain_epoch", 0),
            gain_score=gain_score,
        )


@dataclass
class EpochTotals:
    """Sums over the training steps of an epoch so far. loss: mean loss of each step times its images."""

    loss: float = 0.0
    correct: float = 0.0  # floats, as they come from a tensor that is summed over the ranks
    samples: float = 0.0

    def scores(self) -> dict[str, float]:
        return {"loss": self.loss / self.samples, "accuracy": self.correct / self.samples}


_COUNTS = ("epoch", "batch", "step", "phase_step")  # fields of a position that checkpoints store as they are


@dataclass
class TrainingPosition:
    """Position of a training between two steps.

    epoch: the epoch under way, from 1.  batch: batches of it that are done.  step: optimizer steps of the whole
    training.  phase_step: those of the phase, which the learning-rate schedule counts.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    phase_step: int = 0
    selection: EpochSelection = field(default_factory=EpochSelection)
    totals: EpochTotals = field(default_factory=EpochTotals)

    def begin_epoch(self) -> None:
        self.epoch, self.batch, self.totals = self.epoch + 1, 0, EpochTotals()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values. The keys are those of checkpoints on disk: "right" is `totals.correct`."""
        totals = {"loss": self.totals.loss, "right": self.totals.correct, "samples": self.totals.samples}
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {**counts, **self.selection.to_json(), **totals}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingPosition:
        counts = {name: values[name] for name in _COUNTS}
        totals = EpochTotals(loss=values["loss"], correct=values["right"], samples=values["samples"])
        return cls(**counts, selection=EpochSelection.from_json(values), totals=totals)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Outcome of a training.

    stop: why it ended before its last epoch; None where it did not.  best_epoch: None when no epoch was finished.
    valid: validation scores of the best epoch.
    left_out: why the last phase was not trained; "" where it was.
    gain: of the best epoch of the last phase, where it needed a clear one.  is_gain_used: True if it became the model.
    images_per_second: images trained on over the time of the training epochs; None when no epoch was finished.
    """

    status: RunStatus
    stop: StopReason | None
    best_epoch: int | None
    valid: Mapping[str, float]
    images_per_second: float | None
    left_out: str = ""
    gain: PairedGain | None = None
    is_gain_used: bool = False
