"""The course of one head in a stack: what it scored, which epoch was its best, whether and why it is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.training.heads.job import Floats, HeadResult, OnEpoch, StackedHead


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadEpoch:
    """What one head did in one epoch of S steps. loss, accuracy, lr: (S,).  samples: (S,) images in each step.

    valid: its scores on the validation split, {} without one.  seconds: its share of the epoch's time.
    """

    loss: Floats
    accuracy: Floats
    lr: Floats
    samples: Floats
    valid: Mapping[str, float]
    seconds: float


@dataclass
class HeadProgress:
    """Where one head stands between two epochs; `status` is RUNNING until it is over."""

    head: StackedHead
    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    stopped: str = ""
    seen: list[HeadEpoch] = field(default_factory=list)
    epochs: list[EpochRecord] = field(default_factory=list)
    best_score: tuple[float, float] | None = None
    best_epoch: int | None = None
    best_valid: Mapping[str, float] = field(default_factory=dict)
    best_state: Mapping[str, Tensor] = field(default_factory=dict)
    stale: int = 0  # epochs without a better score
    seconds: float = 0.0

    @property
    def running(self) -> bool:
        """Whether there is an epoch to come."""
        return self.status is RunStatus.RUNNING

    @property
    def recipe(self) -> Recipe:
        """The head's recipe."""
        return self.head.recipe

    def end(self, status: RunStatus, reason: str = "") -> None:
        """Note how it ended."""
        self.status, self.reason = status, reason

    def take(self, seen: HeadEpoch, state: Callable[[], Mapping[str, Tensor]], on_epoch: OnEpoch | None) -> None:
        """Add an epoch. `state` gives the weights after it, and is asked only where they are the best so far."""
        self.seconds += seen.seconds
        wrong = np.flatnonzero(~np.isfinite(seen.loss))
        if len(wrong):
            self._diverge(seen, int(wrong[0]))
            return
        self.seen.append(seen)
        better = self._is_better(seen.valid)
        record = self._record(seen, better)
        self.epochs.append(record)
        if better:
            self.best_epoch, self.best_valid, self.best_state = record.epoch, seen.valid, state()
        self.stale = 0 if better else self.stale + 1
        answer = on_epoch(self.head.number, record) if on_epoch else ""
        self._go_on_or_end(answer)

    def result(self) -> HeadResult:
        """All of it, once it is over."""
        return HeadResult(
            number=self.head.number,
            status=self.status,
            reason=self.reason,
            stopped=self.stopped,
            steps_per_epoch=len(self.seen[0].samples) if self.seen else 0,
            loss=_joined([seen.loss for seen in self.seen]),
            accuracy=_joined([seen.accuracy for seen in self.seen]),
            lr=_joined([seen.lr for seen in self.seen]),
            epochs=tuple(self.epochs),
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            seconds=self.seconds,
            best_valid=self.best_valid,
            best_state=self.best_state,
        )

    def _diverge(self, seen: HeadEpoch, at: int) -> None:
        """End at the step whose loss is no number; it is told, what the stack went on to do after it is not."""
        cut = slice(at + 1)
        made = HeadEpoch(
            loss=seen.loss[cut],
            accuracy=seen.accuracy[cut],
            lr=seen.lr[cut],
            samples=seen.samples,
            valid={},
            seconds=seen.seconds,
        )
        self.seen.append(made)
        epoch = len(self.epochs) + 1
        step = len(self.epochs) * len(seen.samples) + at + 1
        self.end(RunStatus.DIVERGED, f"the loss became {float(seen.loss[at])} at step {step} (epoch {epoch})")

    def _record(self, seen: HeadEpoch, better: bool) -> EpochRecord:
        epoch, samples = len(self.epochs) + 1, float(seen.samples.sum())
        return EpochRecord(
            epoch=epoch,
            epochs=self.recipe.train.passes,
            step=epoch * len(seen.samples),
            lr=float(seen.lr[-1]),
            train={
                "loss": float(seen.loss @ seen.samples) / samples,
                "accuracy": float(seen.accuracy @ seen.samples) / samples,
            },
            valid=seen.valid,
            images_per_second=samples / max(seen.seconds, 1e-9),
            data_share=0.0,
            seconds=seen.seconds,
            best=better,
        )

    def _is_better(self, valid: Mapping[str, float]) -> bool:
        """Whether this epoch beats the best so far, as the loop decides it; without validation the latest does."""
        if not valid:
            return True
        monitor = self.recipe.train.monitor
        value = -valid["loss"] if monitor == "loss" else valid.get(monitor, valid["accuracy"])
        score = (value, -valid["loss"])
        if not all(map(math.isfinite, score)) or (self.best_score is not None and score <= self.best_score):
            return False
        self.best_score = score
        return True

    def _go_on_or_end(self, answer: str) -> None:
        how = self.recipe.train
        last = len(self.epochs) == how.passes
        if answer and not last:  # after the last epoch there is nothing left to stop
            self.stopped = answer
            self.end(RunStatus.STOPPED_EARLY, answer)
        elif how.patience is not None and self.stale >= how.patience:
            self.end(RunStatus.STOPPED_EARLY, f"no better {how.monitor} in {self.stale} epochs")
        elif last:
            self.end(RunStatus.COMPLETED)


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.empty(0)
