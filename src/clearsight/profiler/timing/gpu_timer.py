"""GPU times of the phases of training steps, measured without waiting for the GPU.

Work is queued on a GPU and done later, so a clock on the training thread measures when work is queued. Here every
change of phase puts a mark (a CUDA event) into the queue. The time between two marks that the GPU has passed is the
time of the phase between them, idle time of the GPU included.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

from clearsight.core.guard import Guard, guarded
from clearsight.core.profile import StepTimes
from clearsight.profiler.timing.step_log import StepLog

# Steps that may wait for the GPU's times. A training thread is never this far ahead of a GPU that works: its marks are
# lost, and steps are logged without them.
_MAX_WAITING = 1000


class CudaEvent(Protocol):
    """Part of torch.cuda.Event that is used here. Elapsed time is in milliseconds."""

    def record(self) -> None: ...
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, later: Any, /) -> float: ...


Marks = list[tuple[str, CudaEvent]]  # in order, each with the phase that ended there; "" where there was none


class GpuTimer:
    """Marks of the step under way, and the times between the marks of earlier steps.

    new: makes a mark; by default a CUDA event with timing. Marks are reused, because creating an event is slow.
    """

    def __init__(self, new: Callable[[], CudaEvent] | None = None) -> None:
        self._new = new or _cuda_event
        self._free: list[CudaEvent] = []
        self._marks: Marks = []

    def mark(self, phase: str) -> None:
        """Note that `phase` ends here; "" where a phase begins and none was open."""
        mark = self._free.pop() if self._free else self._new()
        mark.record()
        self._marks.append((phase, mark))

    def collect(self) -> Marks:
        """Return the marks since the last call: those of a step."""
        marks, self._marks = self._marks, []
        return marks

    def drop(self, marks: Marks) -> None:
        """Make these marks free for reuse."""
        self._free.extend(mark for _, mark in marks)

    def seconds(self, marks: Marks, wait: bool = False) -> dict[str, float] | None:
        """Return the seconds by phase between the marks and drop them; None while the GPU has not passed them all.

        wait: wait until it has.
        """
        if wait:
            for _, mark in marks:
                mark.synchronize()
        # The last mark first: while the GPU has not passed it, the others need no query. Then all of them, because
        # phases may run on different streams, where the order of marks is not the order of passing.
        if not all(mark.query() for _, mark in reversed(marks)):
            return None
        seconds: dict[str, float] = {}
        for (_, before), (phase, mark) in pairwise(marks):
            if phase:
                seconds[phase] = seconds.get(phase, 0.0) + max(0.0, before.elapsed_time(mark)) / 1000
        self.drop(marks)
        return seconds


class GpuStepQueue:
    """Steps whose GPU times are not known yet, passed on to a log in order as the GPU completes them.

    After an error of the GPU steps are logged without its times.
    """

    def __init__(self, gpu: GpuTimer, log: StepLog) -> None:
        self.guard = Guard("the profiler's GPU timing", report=logging.getLogger(__name__).warning)
        self._gpu, self._log = gpu, log
        self._waiting: deque[tuple[StepTimes, Marks]] = deque()

    @guarded
    def mark(self, phase: str) -> None:
        """Note that `phase` of the step under way ends here, "" for none."""
        self._gpu.mark(phase)

    def add(self, times: StepTimes, now: float) -> None:
        """Take a step that has ended, with its marks. now: of time.perf_counter."""
        self._waiting.append((times, self._gpu.collect()))
        self.release(now)

    def drop_marks(self) -> None:
        """Drop the marks of the step under way."""
        self._gpu.drop(self._gpu.collect())

    def release(self, now: float, *, wait: bool = False) -> None:
        """Log the steps that the GPU has completed. wait: wait for all of them."""
        while self._waiting:
            times, marks = self._waiting[0]
            seconds = self.guard.run(self._gpu.seconds, marks, wait)
            may_wait = not wait and not self.guard.off and len(self._waiting) <= _MAX_WAITING
            if seconds is None and may_wait:
                return
            self._waiting.popleft()
            self._log.add_step(replace(times, device=seconds or {}), now)


def _cuda_event() -> CudaEvent:
    import torch  # not at the top: without a GPU the profiler runs without torch

    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
