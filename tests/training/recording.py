"""Observer that collects the records of a training."""

from __future__ import annotations

from clearsight.core.events import EpochRecord, NullObserver, StepRecord


class Recording(NullObserver):
    """Steps and epochs in order."""

    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)
