"""LoopRecorder: passes the phases, steps and spans of an external loop on to a stopwatch and to a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy.typing as npt

from clearsight.core.profile import Span
from clearsight.profiler.external.loop_inspection import BatchInfo
from clearsight.profiler.external.loop_state import StepUnderWay


class LoopTimer(Protocol):
    """Stopwatch for the phases and steps of a loop: a `StepTimer`, a `TracedStepTimer` or a `Recording`."""

    def phase(self, name: str, /) -> AbstractContextManager[object]: ...
    def step(self, step: int, epoch: int, samples: int, /) -> None: ...
    def cut(self) -> None: ...
    def note_images(self, images: npt.NDArray[Any], /) -> None: ...


class LoopRecorder:
    """Counts the steps and epochs of a loop, and records them.

    open_timer: returns the stopwatch, called at the first sign of training: most processes never train.
    write_span: receives spans outside of steps.
    """

    def __init__(self, open_timer: Callable[[], LoopTimer], write_span: Callable[[Span], None]) -> None:
        self.steps = self.epoch = 0
        self.last_batch: BatchInfo | None = None  # of those that were trained on
        self.last_end = 0.0  # of the last step or span, from time.perf_counter
        self._open_timer, self._write_span = open_timer, write_span
        self._timer: LoopTimer | None = None
        # Added to a perf_counter it gives UNIX seconds that never jump, whoever sets the machine's clock.
        self._offset = time.time() - time.perf_counter()

    @property
    def started(self) -> bool:
        """Return True after the first sign of training."""
        return self._timer is not None

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._opened().phase(phase).__enter__()

    def leave(self, phase: str) -> None:
        """End a phase."""
        self._opened().phase(phase).__exit__(None, None, None)

    def note_batch(self, batch: BatchInfo) -> None:
        """Pass on the images of a batch."""
        if batch.images is not None and self._timer is not None:
            self._timer.note_images(batch.images)

    def step(self, step: StepUnderWay, samples: int | None) -> None:
        """End a training step. samples: in it, None for what was seen of it."""
        self.steps += 1
        if step.new_epoch or not self.epoch:
            self.epoch += 1
        if step.samples and step.batch is not None:
            self.last_batch = step.batch
        counted = samples if samples is not None else step.samples or step.inputs
        self._opened().step(self.steps, self.epoch, counted)
        self.last_end = time.perf_counter()

    def cut(self) -> None:
        """Drop the phases since the last step: they belong to none."""
        if self._timer is not None:
            self._timer.cut()

    def span(self, name: str, start: float, end: float) -> None:
        """Record a span outside of steps. start, end: from time.perf_counter."""
        self.last_end = end
        begin = self._offset + start
        self._write_span(Span(name=name, start=begin, seconds=end - start, step=self.steps, epoch=self.epoch))

    def _opened(self) -> LoopTimer:
        if self._timer is None:
            self._timer = self._open_timer()
        return self._timer
