"""State of an external training loop and its records.

The state is the event under way, the step under way and the cycle of its optimizers. LoopRecorder counts steps and
epochs, and passes phases, steps and spans on to a stopwatch and to a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy.typing as npt
from torch import nn

from clearsight.core.profile import Span
from clearsight.profiler.external.loop_inspection import BatchInfo


class LoopState(Enum):
    """Event under way. Everything that happens within it is a part of it.

    A step of an optimizer is not among them: a closure, as of L-BFGS, runs forward and backward passes within it.
    """

    IDLE = "idle"
    LOADING = "loading"  # a batch that may be trained on
    FORWARD = "forward"
    UNCERTAIN_FORWARD = "uncertain forward"  # it trains nothing: a teacher in a step, or the start of an evaluation
    EVALUATION = "evaluation"  # a batch or a forward pass of an evaluation
    BACKWARD = "backward"
    SAVING = "saving"


@dataclass(slots=True)
class StepUnderWay:
    """Training step that has not ended, or what looks like one so far.

    start: of its first event, from time.perf_counter, None before.  trained: something in it was trained.
    uncertain: modules that were called without training.  uncertain_until: end of the last such call.
    lead: the first module that was trained; the lengths of its inputs add up to `inputs`.
    samples: of the batches from a DataLoader, the last of which is `batch`.  new_epoch: one of them was the first of
    its epoch.
    """

    start: float | None = None
    trained: bool = False
    uncertain: list[nn.Module] = field(default_factory=list)
    uncertain_until: float = 0.0
    lead: nn.Module | None = None
    inputs: int = 0
    samples: int = 0
    batch: BatchInfo | None = None
    new_epoch: bool = False

    @property
    def may_be_evaluation(self) -> bool:
        """Return True if modules were called and nothing was trained so far."""
        return bool(self.uncertain) and not self.trained

    def begin(self) -> None:
        """Note that an event begins. The first one starts the step."""
        if self.start is None:
            self.start = time.perf_counter()


class AfterUpdate(Enum):
    """Meaning of an optimizer's step for the training step: it has ended, others follow, or it had ended before."""

    ENDED = "ended"
    WAITS = "waits"
    LATE = "late"


class OptimizerCycle:
    """Counts the optimizers' steps between two passes of the model. At first each one is taken for the last."""

    def __init__(self) -> None:
        self._seen, self._expected = 0, 1

    def updated(self) -> AfterUpdate:
        """Count the step of an optimizer."""
        self._seen += 1
        if self._seen > self._expected:
            self._expected = self._seen
            return AfterUpdate.LATE
        return AfterUpdate.ENDED if self._seen == self._expected else AfterUpdate.WAITS

    def over(self) -> bool:
        """End the cycle because something else begins. Return True if the training step still waited for optimizers."""
        if not self._seen:
            return False
        waited_for_more = self._seen < self._expected
        self._expected, self._seen = self._seen, 0
        return waited_for_more

    def restart(self) -> None:
        """Forget the steps seen: passes in a closure, as of L-BFGS, lie within the optimizer's step."""
        self._seen = 0


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
