"""EpochSelection: the best epoch so far, and the end of patience; the same rule for the loop and for stacked heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clearsight.core.recipe import TrainSection
from clearsight.core.stop import StopKind, StopReason


@dataclass
class EpochSelection:
    """Best epoch by its validation scores.

    best_epoch: counts from 1; 0 before any epoch was the best.  best_valid: its validation scores.
    best_score: what was compared: the monitored score, then minus the loss, since accuracies often tie.
    stale: epochs since the last better one.

    A tie in both keeps the first epoch: it took less training. Scores that are not finite never win. Without a
    validation split the latest epoch is the best.
    """

    best_epoch: int = 0
    best_score: tuple[float, float] | None = None
    best_valid: Mapping[str, float] = field(default_factory=dict)
    stale: int = 0

    def add(self, epoch: int, valid: Mapping[str, float], monitor: str) -> bool:
        """Count an epoch with these validation scores ({} without a split); return True if it is the best so far.

        monitor: name of the score to compare. One that the split does not have (roc_auc of a single class) falls back
        to the accuracy.
        """
        if valid:
            # Higher is better in both parts, hence minus the loss.
            value = -valid["loss"] if monitor == "loss" else valid.get(monitor, valid["accuracy"])
            score = (value, -valid["loss"])
            if not all(map(math.isfinite, score)) or (self.best_score is not None and score <= self.best_score):
                self.stale += 1
                return False
            self.best_score = score
        self.best_epoch, self.best_valid, self.stale = epoch, valid, 0
        return True

    def patience_stop(self, train: TrainSection) -> StopReason | None:
        """Return the reason to stop once `train.patience` epochs in a row were not better, else None."""
        # After resuming a run that had ended by patience, this gives the same reason again.
        if train.patience is None or self.stale < train.patience:
            return None
        return StopReason(StopKind.PATIENCE, f"no better {train.monitor} in {self.stale} epochs")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EpochSelection:
        """Return the selection that `to_json` wrote; other keys are ignored."""
        score = values["best_score"] and tuple(values["best_score"])  # JSON has lists in the place of tuples
        return cls(values["best_epoch"], score, values["best_valid"], values["stale"])
