"""StepClock: where training steps spend their time, step by step.

It costs a few microseconds per phase and never raises: what fails inside is given up, logged once and said in
`failure`, and training goes on. A step begins with its first phase after the last step's end, so what is done between
steps (checkpoints, validation) is in none; time within a step that no phase covers is in its `seconds` alone.
The part that asks a GPU (`device_clock`) was tested with a stand-in for CUDA events, not on a GPU.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Span, StepTimes
from clearsight.core.profile_folder import span_line
from clearsight.profiler.timing.gpu_timer import GpuTimer, Marks
from clearsight.profiler.timing.line_file import LineFile
from clearsight.profiler.timing.padding import border_share

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_WRITE_EVERY = 1.0  # seconds
_WRITE_LINES = 200
_LOOK_EVERY = 50  # batches
_LOOK_AT = 8  # images
_STRIDES = tuple(10**power for power in range(1, 10))
_UNSETTLED = 1000  # steps that may wait for the GPU's times; a queue this long is not one that is being worked off


class StepTimer:
    """The stopwatch of a training loop (`training.stopwatch.Stopwatch`), used from one thread.

    path: of the spans file, None for none; lines are appended at most every second or 200 lines, and on `close`.
    cuda: take phases by the GPU's clock too; a step is then handed on when the GPU has passed its end.
    loads: sums so far of what readers spent; a sum that is still 0 is taken as not known.
    launched: start of the process (UNIX seconds), for the span "initialisation".  done: steps done before.
    keep: above this many steps memory has the newest half and every 10th (later 100th, ...) of those before.
    device: in place of CUDA's events, what gives the GPU's time.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        rank: int = 0,
        cuda: bool = False,
        loads: Callable[[], Mapping[str, float]] | None = None,
        launched: float | None = None,
        done: int = 0,
        keep: int = 100_000,
        device: GpuTimer | None = None,
    ) -> None:
        self.steps: list[StepTimes] = []
        self.spans: list[Span] = []
        self.failure = ""
        self.annotate: Callable[[str], AbstractContextManager[object]] | None = None  # shows phases in a trace
        self._file = None if path is None else LineFile(path)
        self._rank, self._keep, self._done = rank, keep, done
        self._lines: list[StepTimes | Span] = []  # put into words together: one by one costs several times as much
        self._lost: set[str] = set()  # what is measured no more
        self._phases: dict[str, _Phase] = {}
        # The step under way: its open phases, outermost first, and since when the innermost runs.
        self._open: list[str] = []
        self._ranges: list[tuple[int, AbstractContextManager[object]]] = []  # of a trace, and how deep they were opened
        self._spent: dict[str, float] = {}
        self._begun: float | None = None
        self._ended: float | None = None
        self._mark = self._written = time.perf_counter()
        self._origin = time.time() - self._mark  # turns a perf_counter into UNIX seconds that never jump
        self._launched = launched
        self._aside = 0  # how many stretches are open
        self._padding: float | None = None
        self._batches = 0
        self._loads, self._loaded = loads, dict(self._attempt("load", loads) or {}) if loads else {}
        self._device = (device or GpuTimer()) if cuda or device else None
        self._unsettled: deque[tuple[StepTimes, Marks]] = deque()

    def phase(self, name: str) -> AbstractContextManager[object]:
        """Within the block the step is in this phase; the time of a phase inside it is not its own."""
        try:
            return self._phases[name]
        except KeyError:
            return self._phases.setdefault(name, _Phase(self, name))

    def stretch(self, name: str, step: int, epoch: int) -> AbstractContextManager[object]:
        """Within the block something outside of training steps is done; phases in it count nowhere."""
        return _Stretch(self, name, step, epoch)

    def note_images(self, images: npt.NDArray[Any]) -> None:
        """The images (N, H, W, 3) or (N, 3, H, W) of the step under way; a few of every 50th batch are looked at."""
        if self._aside:
            return
        self._batches += 1
        if self._batches % _LOOK_EVERY == 1:
            with self.phase("hook"):  # so that looking is not taken for waiting for data
                self._padding = self._attempt("padding", _look, images)

    def step(self, step: int, epoch: int, samples: int) -> None:
        """A training step has ended. A step without any phase reaches back to the end of the one before, if it can."""
        self._attempt("steps", self._end_step, time.perf_counter(), step, epoch, samples)
        if "steps" in self._lost:
            self.cut()

    def cut(self) -> None:
        """What was done since the last step belongs to none, and the next step does not reach back over it."""
        self._reset(time.perf_counter())
        self._ended = None

    def close(self) -> None:
        """Hand on the steps that wait for the GPU's times, and write the rest."""
        self._settle(wait=True)
        self._attempt("file", self._write, time.perf_counter())
        if self._file is not None:
            self._attempt("closing", self._file.close)  # also of a file that could not be written

    def _enter(self, name: str) -> None:
        now = time.perf_counter()
        if self._open:
            self._spend(now)
        elif self._begun is None and not self._aside:
            self._begin(now)
        self._open.append(name)
        self._mark = now
        if self._device is not None or self.annotate is not None:
            self._entered(name)

    def _leave(self, name: str) -> None:
        now = time.perf_counter()
        if name not in self._open:
            return  # the step was ended or cut inside this phase
        self._spend(now)
        left = self._open.pop()
        while left != name:  # a phase inside was never left: its generator is still suspended
            left = self._open.pop()
        self._mark = now
        if self._device is not None or self._ranges:
            self._left(name)

    def _spend(self, now: float) -> None:
        """What the innermost open phase took until now is its own."""
        inner = self._open[-1]
        self._spent[inner] = self._spent.get(inner, 0.0) + now - self._mark

    def _begin(self, now: float) -> None:
        self._begun = now
        if self._launched is not None:
            start, self._launched = self._launched, None
            seconds = max(0.0, self._origin + now - start)
            self._note(Span(name="initialisation", start=start, seconds=seconds, step=self._done, rank=self._rank))

    def _entered(self, name: str) -> None:
        """Tell the GPU and the trace of a phase that begins."""
        self._marked(self._open[-2] if len(self._open) > 1 else "")
        if self.annotate is not None:
            self._attempt("annotation", self._annotate, self.annotate, name)

    def _left(self, name: str) -> None:
        """Tell the GPU and the trace of a phase that ends."""
        self._attempt("annotation", self._close_ranges, len(self._open))
        self._marked(name)

    def _marked(self, phase: str) -> None:
        """On the GPU's clock `phase` ends here, if any."""
        if self._device is not None and self._begun is not None:
            self._attempt("device", self._device.mark, phase)

    def _annotate(self, annotate: Callable[[str], AbstractContextManager[object]], name: str) -> None:
        shown = annotate(name)
        shown.__enter__()
        self._ranges.append((len(self._open), shown))

    def _close_ranges(self, depth: int) -> None:
        """Close what was opened in the trace for phases deeper than `depth`."""
        while self._ranges and self._ranges[-1][0] > depth:
            self._ranges.pop()[1].__exit__(None, None, None)

    def _end_step(self, now: float, step: int, epoch: int, samples: int) -> None:
        if self._open:
            self._spend(now)
            self._marked(self._open[-1])
        begun = self._begun if self._begun is not None else self._ended
        if begun is None:
            if not self._aside:  # nothing but this moment is known, and the next step can reach back to it
                self._begin(now)
                self._reset(now)
                self._ended = now
            return
        times = StepTimes(
            step=int(step),
            epoch=int(epoch),
            start=self._origin + begun,
            seconds=now - begun,
            samples=int(samples),
            phases=self._spent,
            load=self._attempt("load", self._load) or {},
            padding=self._padding,
            rank=self._rank,
        )
        if self._device is None:
            self._hand_on(times, now)
        else:
            self._unsettled.append((times, self._device.take()))
            self._settle()
        self._reset(now)
        self._ended = now

    def _reset(self, now: float) -> None:
        """No step is under way."""
        self._attempt("annotation", self._close_ranges, 0)
        if self._device is not None:
            self._device.drop(self._device.take())
        self._open.clear()
        self._spent, self._padding, self._begun, self._mark = {}, None, None, now

    def _load(self) -> dict[str, float]:
        """What readers spent since the last step, of what they have spent anything on at all."""
        if self._loads is None:
            return {}
        before, self._loaded = self._loaded, dict(self._loads())
        return {name: value - before.get(name, 0.0) for name, value in self._loaded.items() if value}

    def _settle(self, *, wait: bool = False) -> None:
        """Hand on, in order, the steps that the GPU has done; without its times where it does not tell them."""
        while self._unsettled and self._device is not None:
            times, marks = self._unsettled[0]
            spent = self._attempt("device", self._device.seconds, marks, wait)
            patient = not wait and "device" not in self._lost and len(self._unsettled) <= _UNSETTLED
            if spent is None and patient:
                return
            self._unsettled.popleft()
            self._hand_on(replace(times, device=spent or {}), time.perf_counter())

    def _hand_on(self, times: StepTimes, now: float) -> None:
        self.steps.append(times)
        if len(self.steps) > self._keep:
            self._thin()
        self._note(times, now)

    def _thin(self) -> None:
        """Forget steps of before the newest half: all but every 10th, 100th, ... until a quarter of `keep` is free."""
        half = max(1, self._keep // 2)
        old, new = self.steps[:-half], self.steps[-half:]
        for stride in _STRIDES:
            old = [times for times in old if times.step % stride == 0]
            if len(old) <= half // 2:
                break
        self.steps[:] = [*old, *new]

    def _stretched(self, name: str, began: float, seconds: float, step: int, epoch: int) -> None:
        start = self._origin + began
        self._note(Span(name=name, start=start, seconds=seconds, step=int(step), epoch=int(epoch), rank=self._rank))

    def _note(self, what: StepTimes | Span, now: float | None = None) -> None:
        if isinstance(what, Span):
            self.spans.append(what)
        if self._file is None:
            return
        self._attempt("file", self._line, what, time.perf_counter() if now is None else now)

    def _line(self, what: StepTimes | Span, now: float) -> None:
        self._lines.append(what)
        if now - self._written >= _WRITE_EVERY or len(self._lines) >= _WRITE_LINES:
            self._write(now)

    def _write(self, now: float) -> None:
        if self._file is not None and self._lines:
            lines, self._lines, self._written = "".join(map(span_line, self._lines)), [], now
            self._file.write(lines)

    def _attempt(self, what: str, work: Callable[..., _T], *args: object) -> _T | None:
        """The one place where what fails inside ends: `what` is not done again, and training never hears of it."""
        if what in self._lost:
            return None
        try:
            return work(*args)
        except Exception as error:  # whatever it is, a measurement is not worth a training
            self._lost.add(what)
            told = f"{what}: {type(error).__name__}: {error}"
            self.failure = f"{self.failure}; {told}" if self.failure else told
            log.warning("the profiler stopped measuring %s", told)
            return None


class _Phase:
    """Entering and leaving one phase; one object serves every time."""

    __slots__ = ("_clock", "_name")

    def __init__(self, clock: StepTimer, name: str) -> None:
        self._clock, self._name = clock, name

    def __enter__(self) -> None:
        self._clock._enter(self._name)

    def __exit__(self, *_: object) -> None:
        self._clock._leave(self._name)


class _Stretch:
    """One stretch of time outside of training steps."""

    __slots__ = ("_began", "_clock", "_epoch", "_name", "_step")

    def __init__(self, clock: StepTimer, name: str, step: int, epoch: int) -> None:
        self._clock, self._name, self._step, self._epoch = clock, name, step, epoch
        self._began = 0.0

    def __enter__(self) -> None:
        self._clock.cut()
        self._clock._aside += 1
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        clock, seconds = self._clock, time.perf_counter() - self._began
        clock._aside -= 1
        clock._attempt("spans", clock._stretched, self._name, self._began, seconds, self._step, self._epoch)
        clock.cut()


def _look(images: npt.NDArray[Any]) -> float:
    """The border of a few images, spread over the batch."""
    return border_share(np.asarray(images[:: max(1, len(images) // _LOOK_AT)][:_LOOK_AT]))
