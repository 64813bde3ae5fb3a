"""DeviceClock: where a GPU spent a training step, by its own clock and without ever waiting for it.

Work is queued on a GPU and done later, so the training thread's clock says when work was asked for. Here every change
of phase puts a mark (a CUDA event) into the queue; the time between two marks that the GPU has passed is what the phase
between them took there, waiting for more work included.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol


class CudaEvent(Protocol):
    """What is used of torch.cuda.Event."""

    def record(self) -> None:
        """Put it into the queue of the current stream."""
        ...

    def query(self) -> bool:
        """Whether the GPU has passed it."""
        ...

    def synchronize(self) -> None:
        """Wait until it has."""
        ...

    def elapsed_time(self, later: Any, /) -> float:
        """Milliseconds from here to a later mark."""
        ...


Marks = list[tuple[str, CudaEvent]]  # in order, each with the phase that ended there; "" where there was none


class GpuTimer:
    """Marks of the step under way, and what marks of earlier steps say.

    new: makes a mark; by default a CUDA event that takes the time. Marks are used again.
    """

    def __init__(self, new: Callable[[], CudaEvent] | None = None) -> None:
        self._new = new or _cuda_event
        self._free: list[CudaEvent] = []
        self._marks: Marks = []

    def mark(self, phase: str) -> None:
        """Here `phase` ends; "" where a phase begins after none."""
        mark = self._free.pop() if self._free else self._new()
        mark.record()
        self._marks.append((phase, mark))

    def take(self) -> Marks:
        """The marks since the last take: those of a step."""
        taken, self._marks = self._marks, []
        return taken

    def drop(self, marks: Marks) -> None:
        """These are needed no more."""
        self._free.extend(mark for _, mark in marks)

    def seconds(self, marks: Marks, wait: bool = False) -> dict[str, float] | None:
        """Seconds by phase between the marks, which are then used again; None while the GPU has not passed them all.

        wait: until it has.
        """
        if wait:
            for _, mark in marks:
                mark.synchronize()
        # The last first: while it is ahead nothing else need be asked. All, as phases may be on streams of their own.
        if not all(mark.query() for _, mark in reversed(marks)):
            return None
        spent: dict[str, float] = {}
        for (_, before), (phase, mark) in pairwise(marks):
            if phase:
                spent[phase] = spent.get(phase, 0.0) + max(0.0, before.elapsed_time(mark)) / 1000
        self.drop(marks)
        return spent


def _cuda_event() -> CudaEvent:
    import torch  # here: whoever measures without a GPU need not have it loaded

    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
