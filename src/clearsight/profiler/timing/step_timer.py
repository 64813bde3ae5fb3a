"""StepTimer: where training steps spend their time, step by step.

It takes a few microseconds per phase and never raises: a part that fails is turned off and reported once, and training
goes on. A step begins with its first phase after the end of the last step, so that work between steps (checkpoints,
validation) belongs to none. Time within a step that no phase covers is in its `seconds` alone.
The GPU part (`gpu_timer`) was tested with a stand-in for CUDA events, not on a GPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy.typing as npt

from clearsight.core.guard import Guard, failures, guarded
from clearsight.core.profile import Span, StepTimes
from clearsight.profiler.timing.gpu_timer import GpuStepQueue, GpuTimer
from clearsight.profiler.timing.padding import PaddingSampler
from clearsight.profiler.timing.step_log import StepLog

_logger = logging.getLogger(__name__)

Annotation = Callable[[str], AbstractContextManager[object]]  # shows a named range in a trace


class StepTimer:
    """Stopwatch of a training loop (`training.protocols.Stopwatch`), used from one thread.

    log: receives steps and spans, None for one in memory.  loads: running sums of what the loader spent; a sum that is
    still 0 is taken as unknown.  launched: start of the process (UNIX seconds), where the span "initialisation" starts.
    done: steps done before.  gpu: also times phases on the GPU; a step is then logged once the GPU has passed its end.
    """

    def __init__(
        self,
        log: StepLog | None = None,
        *,
        rank: int = 0,
        loads: Callable[[], Mapping[str, float]] | None = None,
        launched: float | None = None,
        done: int = 0,
        gpu: GpuTimer | None = None,
    ) -> None:
        self.log = log or StepLog()  # of the timed steps, and of the spans outside of them
        self.annotate: Annotation | None = None  # set while a trace is taken, to show phases in it
        self.guard = Guard("the profiler's step timing", report=_logger.warning)
        self._rank = rank
        self._phases: dict[str, _Phase] = {}
        # The step under way: its open phases, outermost first, and since when the innermost has been running.
        self._open: list[str] = []
        self._seconds: dict[str, float] = {}
        self._start: float | None = None
        self._last_end: float | None = None
        self._mark = time.perf_counter()
        self._spans = SpanRecorder(self.log, rank, launched, done)
        self._loads, self._padding, self._ranges = LoadMeter(loads), PaddingSampler(), TraceRanges()
        self._gpu = None if gpu is None else GpuStepQueue(gpu, self.log)

    @property
    def failure(self) -> str:
        """The parts that are off and why, "" where all work."""
        guards = [self.guard, self._spans.guard, self._loads.guard, self._padding.guard, self._ranges.guard]
        gpu = [self._gpu.guard] if self._gpu is not None else []
        return failures([*guards, *gpu, self.log.guard])

    def phase(self, name: str) -> AbstractContextManager[object]:
        """Put the step into this phase within the block. Time of a phase inside it counts for the inner one alone."""
        try:
            return self._phases[name]
        except KeyError:
            return self._phases.setdefault(name, _Phase(self, name))

    @contextmanager
    def span(self, name: str, step: int, epoch: int) -> Iterator[None]:
        """Record the block as a span outside of training steps. Phases in it count nowhere."""
        self.cut()
        self._spans.open += 1
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spans.open -= 1
            self._spans.record(name, start, step, epoch)
            self.cut()

    def note_images(self, images: npt.NDArray[Any]) -> None:
        """Measure the borders of some images (N, H, W, 3) or (N, 3, H, W) of the step under way, every 50th batch."""
        if not self._spans.open and self._padding.due():
            with self.phase("hook"):  # so that the measuring does not count as waiting for data
                self._padding.measure(images)

    def step(self, step: int, epoch: int, samples: int) -> None:
        """End a training step. A step without any phase reaches back to the end of the one before, if there is one."""
        if not self._end_step(time.perf_counter(), step, epoch, samples):
            self.cut()

    def cut(self) -> None:
        """Drop what was timed since the last step: it belongs to no step, and the next one does not reach back."""
        self._reset(time.perf_counter())
        self._last_end = None

    def close(self) -> None:
        """Log the steps that wait for the GPU's times, and write the rest."""
        if self._gpu is not None:
            self._gpu.release(time.perf_counter(), wait=True)
        self.log.close()

    def _enter(self, name: str) -> None:
        now = time.perf_counter()
        if self._open:
            self._charge(now)
        elif self._start is None and not self._spans.open:
            self._begin(now)
        self._open.append(name)
        self._mark = now
        if self._gpu is not None or self.annotate is not None:
            self._mark_gpu(self._open[-2] if len(self._open) > 1 else "")
            if self.annotate is not None:
                self._ranges.begin(self.annotate, name, len(self._open))

    def _leave(self, name: str) -> None:
        now = time.perf_counter()
        if name not in self._open:
            return  # the step was ended or cut inside this phase
        self._charge(now)
        # A phase inside is still open where it is in a generator that is suspended. It ends here too.
        while self._open.pop() != name:
            pass
        self._mark = now
        if self._gpu is not None or self._ranges.open:
            self._ranges.end(len(self._open))
            self._mark_gpu(name)

    def _charge(self, now: float) -> None:
        """Add the time since the last change of phase to the innermost open phase."""
        inner = self._open[-1]
        self._seconds[inner] = self._seconds.get(inner, 0.0) + now - self._mark

    def _begin(self, now: float) -> None:
        self._start = now
        self._spans.end_initialisation(now)

    def _mark_gpu(self, phase: str) -> None:
        """Note on the GPU that `phase` ends here, "" for none."""
        if self._gpu is not None and self._start is not None:
            self._gpu.mark(phase)

    @guarded(default=False)
    def _end_step(self, now: float, step: int, epoch: int, samples: int) -> bool:
        """Return True; False after a failure, by the guard."""
        if self._open:
            self._charge(now)
            self._mark_gpu(self._open[-1])
        start = self._start if self._start is not None else self._last_end
        if start is None:
            if not self._spans.open:  # its start is unknown, but the next step can reach back to this moment
                self._begin(now)
                self._reset(now)
                self._last_end = now
            return True
        times = StepTimes(
            step=int(step),
            epoch=int(epoch),
            start=self._spans.unix(start),
            seconds=now - start,
            samples=int(samples),
            phases=self._seconds,
            load=self._loads.growth(),
            padding=self._padding.share,
            rank=self._rank,
        )
        if self._gpu is None:
            self.log.add_step(times, now)
        else:
            self._gpu.add(times, now)
        self._reset(now)
        self._last_end = now
        return True

    def _reset(self, now: float) -> None:
        """Start over: no step is under way."""
        if self._ranges.open:
            self._ranges.end(0)
        if self._gpu is not None:
            self._gpu.drop_marks()
        self._open.clear()
        self._padding.share = None
        self._seconds, self._start, self._mark = {}, None, now


class SpanRecorder:
    """Records spans outside of training steps in a log.

    launched: start of the process (UNIX seconds), None for no span "initialisation".  done: steps done before.
    """

    def __init__(self, log: StepLog, rank: int, launched: float | None, done: int) -> None:
        self.guard = Guard("the profiler's recording of spans", report=_logger.warning)
        self.open = 0  # spans under way; they may be nested
        self._log, self._rank, self._launched, self._done = log, rank, launched, done
        # Added to a perf_counter it gives UNIX seconds that never jump, whoever sets the machine's clock.
        self._offset = time.time() - time.perf_counter()

    def unix(self, moment: float) -> float:
        """Return a moment of time.perf_counter in UNIX seconds."""
        return self._offset + moment

    @guarded
    def record(self, name: str, start: float, step: int, epoch: int) -> None:
        """Log a span that ends now. start: of time.perf_counter."""
        now = time.perf_counter()
        place = {"step": int(step), "epoch": int(epoch), "rank": self._rank}
        self._log.add_span(Span(name=name, start=self.unix(start), seconds=now - start, **place), now)

    def end_initialisation(self, now: float) -> None:
        """Log the span "initialisation", at the first call alone."""
        if self._launched is None:
            return
        start, self._launched = self._launched, None
        seconds = max(0.0, self.unix(now) - start)
        span = Span(name="initialisation", start=start, seconds=seconds, step=self._done, rank=self._rank)
        self._log.add_span(span, now)


class LoadMeter:
    """Growth of the loader's running sums from step to step. sums: reads them, None where there are none."""

    def __init__(self, sums: Callable[[], Mapping[str, float]] | None) -> None:
        self.guard = Guard("the profiler's loader timing", report=_logger.warning)
        self._sums = sums
        self._last: dict[str, float] = {}
        self.growth()  # what was read before the first step belongs to none

    def growth(self) -> dict[str, float]:
        """Return the growth since the last call, without sums that are still 0; {} where they cannot be read."""
        return self.guard.run_or({}, self._read)

    def _read(self) -> dict[str, float]:
        if self._sums is None:
            return {}
        last, self._last = self._last, dict(self._sums())
        return {name: value - last.get(name, 0.0) for name, value in self._last.items() if value}


class TraceRanges:
    """Named ranges of phases in a trace, while one is taken."""

    def __init__(self) -> None:
        self.guard = Guard("the profiler's annotation of the trace", report=_logger.warning)
        self.open: list[tuple[int, AbstractContextManager[object]]] = []  # with the depth of their phases

    @guarded
    def begin(self, annotate: Annotation, name: str, depth: int) -> None:
        """Open a range for the phase at this depth of nesting, 1 for an outermost one."""
        shown = annotate(name)
        shown.__enter__()
        self.open.append((depth, shown))

    @guarded
    def end(self, depth: int) -> None:
        """Close the ranges of phases deeper than `depth`."""
        while self.open and self.open[-1][0] > depth:
            self.open.pop()[1].__exit__(None, None, None)


class _Phase:
    """Context manager of one phase; one object serves every time."""

    __slots__ = ("_name", "_timer")

    def __init__(self, timer: StepTimer, name: str) -> None:
        self._timer, self._name = timer, name

    def __enter__(self) -> None:
        self._timer._enter(self._name)

    def __exit__(self, *_: object) -> None:
        self._timer._leave(self._name)
