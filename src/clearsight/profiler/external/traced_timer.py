"""TracedClock: a step clock that has a few of its steps traced operator by operator."""

from __future__ import annotations

from pathlib import Path

import torch

from clearsight.profiler.timing.step_timer import StepTimer
from clearsight.profiler.trace import TraceWindow


class TracedStepTimer:
    """A stopwatch: `clock`, beside a `TraceWindow` that writes into `folder`."""

    def __init__(self, clock: StepTimer, folder: Path) -> None:
        self._clock = clock
        self._window = TraceWindow(folder, cuda=torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        self.phase, self.stretch, self.cut, self.note_images = clock.phase, clock.stretch, clock.cut, clock.note_images
        self._window.start()
        clock.annotate = self._window.annotate

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A training step has ended."""
        clock, window = self._clock, self._window
        clock.step(step, epoch, samples)
        if window.closing:
            with clock.stretch("trace", step, epoch):  # seconds, where the network is large
                window.step(step)
        else:
            window.step(step)
        clock.annotate = window.annotate

    def close(self) -> None:
        """Write what was traced and what is left."""
        self._window.stop()
        self._clock.annotate = None
        self._clock.close()
