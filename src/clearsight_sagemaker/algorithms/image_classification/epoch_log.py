"""EpochLog: a training in the lines of the algorithm's log, from which its metrics are read."""

from __future__ import annotations

import time

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, RunStatus, StepRecord
from clearsight.core.finding import Finding

_EVERY = 20  # batches between two lines of speed


class EpochLog(NullObserver):
    """Prints batches and epochs, which the algorithm counts from 0."""

    def __init__(self) -> None:
        self._epoch, self._batch = 0, 0
        self._images, self._start = 0, time.monotonic()

    def on_plan(self, plan: RunPlan) -> None:
        """Print the network and what it is trained on."""
        images = ", ".join(f"{split} {count}" for split, count in plan.images.items())
        log_line(f"{plan.model}, {plan.weights}; {plan.classes} classes, images: {images}")
        log_line(f"device {plan.device}, {plan.precision}, batches of {plan.batch_size}, {plan.epochs} epochs")
        for note in plan.notes:
            log_line(note)

    def on_step(self, record: StepRecord) -> None:
        """Print the speed of every twentieth batch."""
        if record.epoch != self._epoch:
            self._epoch, self._batch, self._images, self._start = record.epoch, 0, 0, time.monotonic()
        self._batch += 1
        self._images += record.samples
        if self._batch % _EVERY == 0:
            speed = self._images / max(time.monotonic() - self._start, 1e-9)
            loss = f"\tloss={record.scalars['loss']:.6f}" if "loss" in record.scalars else ""
            log_line(f"Epoch[{record.epoch - 1}] Batch [{self._batch}]\tSpeed: {speed:.2f} samples/sec{loss}")

    def on_epoch(self, record: EpochRecord) -> None:
        """Print the accuracies of an epoch."""
        epoch = f"Epoch[{record.epoch - 1}]"
        if "accuracy" in record.train:
            log_line(f"{epoch} Train-accuracy={record.train['accuracy']:.6f}")
        log_line(f"{epoch} Time cost={record.seconds:.3f}")
        if "accuracy" in record.valid:
            accuracy = f"{record.valid['accuracy']:.6f}"
            log_line(f"{epoch} Validation-accuracy={accuracy}")
            if record.best:
                log_line(f"Storing the best model with validation accuracy: {accuracy}")

    def on_finding(self, finding: Finding) -> None:
        """Print what clearsight's debugger finds."""
        log_line(f"clearsight: {finding.rule}: {finding.cause}. {finding.advice}".rstrip())

    def on_remark(self, remark: str) -> None:
        """Print a decision of the training."""
        log_line(remark)

    def on_end(self, status: RunStatus, reason: str) -> None:
        """Print how the training ended."""
        log_line(f"Training ended: {status.value}{f' ({reason})' if reason else ''}")


def log_line(text: str) -> None:
    """Print a line with the time, as the algorithm does."""
    print(f"[{time.strftime('%m/%d/%Y %H:%M:%S')} INFO] {text}", flush=True)
