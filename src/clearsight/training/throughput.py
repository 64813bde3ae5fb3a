"""Rehearsal: real training steps whose only result is how long they take."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from itertools import count, islice

import torch

from clearsight.training.batches import Batch
from clearsight.training.job import Phase, TrainingJob
from clearsight.training.loop import Training
from clearsight.training.optim import build_optimizer, rate


@dataclass(frozen=True, slots=True)
class ThroughputSample:
    """Some optimizer steps: how many, on how many images, in how many seconds, of which `waited` for batches."""

    steps: int
    images: int
    seconds: float
    waited: float

    @property
    def images_per_second(self) -> float:
        """Images trained on per second."""
        return self.images / self.seconds


class ThroughputTrial:
    """Steps of one phase of a job, the very ones that training would make; weights move, nothing is written or told.

    The batches go round and round from epoch 1, so that what is kept of them between epochs is kept here too.
    """

    def __init__(self, job: TrainingJob, phase: Phase) -> None:
        self._training, self._job, self._phase = Training(job), job, phase
        groups = phase.enter()
        phase.train_mode()
        self._training.optimizer = build_optimizer(groups, job.recipe.optim)
        self._model = job.world.wrap(phase.model, job.device)
        self._batches: Generator[Batch, None, None] | None = self._endless()

    def load(self) -> ThroughputSample:
        """One epoch of batches without training on them: reading alone, and it fills what keeps images."""
        began, images = time.perf_counter(), 0
        for batch in self._phase.train.epoch(1):
            images += len(batch.labels)
        seconds = time.perf_counter() - began
        return ThroughputSample(0, images, seconds, seconds)

    def steps(self, least: int, seconds: float = 0.0) -> ThroughputSample:
        """At least so many steps, and more until `seconds` have passed; raises what the model raises."""
        if self._batches is None:
            raise ValueError("the rehearsal is closed")
        began, waited, images, done = time.perf_counter(), 0.0, 0, 0
        while done < least or time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            window = list(islice(self._batches, self._job.recipe.optim.accumulate))
            waited += time.perf_counter() - asked
            self._training.step(self._model, window, self._lr(), waited, asked)
            self._training.unread.clear()
            images += sum(len(batch.labels) for batch in window)
            done += 1
        if self._job.device.type == "cuda":
            torch.cuda.synchronize(self._job.device)
        return ThroughputSample(done, images, time.perf_counter() - began, waited)

    def close(self) -> None:
        """Stop what reads ahead."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _endless(self) -> Generator[Batch, None, None]:
        for epoch in count(1):
            yield from self._phase.train.epoch(epoch)

    def _lr(self) -> float:
        """So small that weights cannot run away, whatever the recipe asks: time does not depend on it."""
        steps = max(1, math.ceil(self._phase.train.steps / self._job.recipe.optim.accumulate))
        return 1e-3 * rate(steps // 2, steps, steps, self._job.recipe.optim)
