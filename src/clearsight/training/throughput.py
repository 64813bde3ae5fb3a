"""ThroughputTrial: real training steps of which only the time they take is kept."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import count, islice

import torch

from clearsight.training.batches import Batch
from clearsight.training.job import Phase, TrainingJob
from clearsight.training.optim import rate
from clearsight.training.step import TrainingStep, trained_tensors


@dataclass(frozen=True, slots=True)
class ThroughputSample:
    """Time of some optimizer steps on some images. wait_seconds: the part of `seconds` spent waiting for batches."""

    steps: int
    images: int
    seconds: float
    wait_seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds


class ThroughputTrial:
    """Takes the steps that training would take on one phase of a job; weights move, nothing is written or announced.

    The batches repeat from epoch 1, so that a loader that keeps images between epochs keeps them here too.
    """

    def __init__(self, job: TrainingJob, phase: Phase) -> None:
        self._job, self._phase = job, phase
        self._step = TrainingStep(job, trained_tensors(job))  # with EMA, clipping and scaling as in the run
        self._step.begin(phase)
        self._steps_done = 0
        self._batches: Generator[Batch, None, None] | None = self._endless()

    def load(self) -> ThroughputSample:
        """Read one epoch of batches without training on them; it fills the memory of a loader that keeps images."""
        start, images = time.perf_counter(), 0
        for batch in self._phase.train.epoch(1):
            images += len(batch.labels)
        seconds = time.perf_counter() - start
        return ThroughputSample(0, images, seconds, seconds)

    def steps(self, least: int, seconds: float = 0.0) -> ThroughputSample:
        """Take `least` steps, and more until `seconds` have passed; raises what the model raises."""
        if self._batches is None:
            raise ValueError("the throughput trial is closed")
        start, wait_seconds, images, steps = time.perf_counter(), 0.0, 0, 0
        while steps < least or time.perf_counter() - start < seconds:
            step_start = time.perf_counter()
            batches = list(islice(self._batches, self._job.recipe.optim.accumulate))
            wait_seconds += time.perf_counter() - step_start
            self._step.run(batches, self._lr(), step=self._steps_done, epoch=1)  # its outcome is not read
            self._steps_done += 1
            images += sum(len(batch.labels) for batch in batches)
            steps += 1
        if self._job.device.type == "cuda":
            torch.cuda.synchronize(self._job.device)  # kernels are only queued so far
        return ThroughputSample(steps, images, time.perf_counter() - start, wait_seconds)

    def close(self) -> None:
        """Stop the loader from reading ahead."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _endless(self) -> Generator[Batch, None, None]:
        for epoch in count(1):
            yield from self._phase.train.epoch(epoch)

    def _lr(self) -> float:
        """Return a rate so small that weights cannot diverge, whatever the recipe says: time does not depend on it."""
        steps = max(1, self._job.steps_per_epoch(self._phase))
        return 1e-3 * rate(steps // 2, steps, steps, self._job.recipe.optim)
