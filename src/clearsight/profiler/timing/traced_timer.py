"""TracedStepTimer: a step timer that traces a few of its steps operator by operator."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.profile import Trace
from clearsight.profiler.timing.step_timer import StepTimer
from clearsight.profiler.trace import TraceWindow


class TracedStepTimer:
    """Stopwatch made of `timer` and of a `TraceWindow` that writes into `folder`.

    planned_steps: of this process, 0 where not known.  cuda: the steps run on a GPU. Nothing raises.
    """

    def __init__(self, timer: StepTimer, folder: Path, *, planned_steps: int = 0, cuda: bool = False) -> None:
        self._timer = timer
        self._window = TraceWindow(folder, planned_steps=planned_steps, cuda=cuda)
        # Bound once: the loop calls the timer's own methods, without a detour.
        self.phase, self.span, self.cut, self.note_images = timer.phase, timer.span, timer.cut, timer.note_images

    @property
    def trace(self) -> Trace | None:
        """The trace, None as long as there is none."""
        return self._window.trace

    @property
    def failure(self) -> str:
        """The reason why tracing ended early, "" where it did not."""
        return self._window.failure

    @property
    def no_trace_reason(self) -> str:
        """The reason why there is no trace, "" before the window is over and where there is one."""
        return self._window.no_trace_reason

    def start(self) -> None:
        """Begin to trace: the next training step is the first that the window counts."""
        self._window.start()
        self._timer.annotate = self._window.annotate

    def step(self, step: int, epoch: int, samples: int) -> None:
        """End a training step."""
        timer, window = self._timer, self._window
        timer.step(step, epoch, samples)
        if window.closing:
            # The end of the window evaluates the trace, which takes seconds for a large network. Without a span of its
            # own this time would seem to be a pause of the training.
            with timer.span("trace", step, epoch):
                window.step(step)
        else:
            window.step(step)
        timer.annotate = window.annotate

    def close(self) -> None:
        """Write the trace of the steps so far, and what the timer has not yet written."""
        self._window.stop()
        self._timer.annotate = None
        self._timer.close()
