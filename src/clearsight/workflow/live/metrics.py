"""LiveMetrics: the training progress of a run that another process trains, from its growing metrics.jsonl."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.events import EpochRecord
from clearsight.core.files import LineFollower

_RECENT = 50  # training steps over which speeds are averaged


class LiveMetrics:
    """Progress as far as metrics.jsonl tells. `update` reads what was appended since the last call.

    losses: (training step, loss), finite ones alone.  scalars: the newest value of each scalar of a training step.
    epochs: the finished ones.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        """path: of metrics.jsonl.  epochs: planned for the whole run."""
        self._file = LineFollower(path)
        self._planned_epochs = epochs
        self._forget()

    def _forget(self) -> None:
        self.losses: list[tuple[int, float]] = []
        self.scalars: dict[str, float] = {}
        self.epochs: list[EpochRecord] = []
        self.step, self.epoch = 0, 0
        self._epoch_values: dict[str, Any] = {}  # of the epoch whose lines are being read
        self._recent = {name: deque[float](maxlen=_RECENT) for name in ("step_seconds", "data_seconds")}

    def update(self) -> None:
        """Read the new lines; after the run went back to a checkpoint, read the file again from its start."""
        # The run dropped the steps after its checkpoint: what was read of them is void.
        before = self._file.restarts
        rows = self._file.rows()
        if self._file.restarts > before:
            self._forget()
        for row in rows:
            self._add(row)

    @property
    def path(self) -> Path:
        """Return the path of metrics.jsonl."""
        return self._file.path

    @property
    def rewinds(self) -> int:
        """Return how often the run went back to a checkpoint while it was followed."""
        return self._file.restarts

    @property
    def step_seconds(self) -> float | None:
        """Return the mean seconds of the recent training steps."""
        times = self._recent["step_seconds"]
        return sum(times) / len(times) if times else None

    @property
    def data_share(self) -> float | None:
        """Return the share of the recent steps' time spent waiting for batches, in [0, 1]."""
        total = sum(self._recent["step_seconds"])
        return sum(self._recent["data_seconds"]) / total if total else None

    def _add(self, row: Mapping[str, Any]) -> None:
        """Add one line; the last line of an epoch is `epoch_best`."""
        name, value = row["name"], row["value"]
        kind = name.partition("_")[0]
        if kind in ("epoch", "valid"):
            self._epoch_values[name] = value
            if name == "epoch_best":
                self._end_epoch(row)
            return
        if row["mode"] != "train" or value is None:
            return
        self.step, self.epoch = row["step"], row["epoch"]
        self.scalars[name] = value
        if name == "loss" and math.isfinite(value):
            self.losses.append((row["step"], value))  # a chart has no place for infinity
        if name in self._recent:
            self._recent[name].append(value)

    def _end_epoch(self, row: Mapping[str, Any]) -> None:
        values, self._epoch_values = self._epoch_values, {}  # the next line belongs to the next epoch
        self.epochs.append(
            EpochRecord(
                epoch=row["epoch"],
                epochs=self._planned_epochs,
                step=row["step"],
                lr=values["epoch_lr"],
                train={name: values[f"epoch_{name}"] for name in ("loss", "accuracy") if f"epoch_{name}" in values},
                valid={name.removeprefix("valid_"): v for name, v in values.items() if name.startswith("valid_")},
                images_per_second=values["epoch_images_per_second"],
                data_share=values["epoch_data_share"],
                seconds=values["epoch_seconds"],
                best=bool(values["epoch_best"]),
            )
        )
