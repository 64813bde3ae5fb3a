"""Recording: all that is measured of a run, in one folder, from its start to its end.

It is the stopwatch of the training loop, looks at the machine beside it, and traces a few steps where that is wanted.
Nothing in it raises once it is started: what fails is logged once and said in `failure`, and training goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from clearsight.core.errors import BadData
from clearsight.core.files import read_jsonl
from clearsight.core.profile import Machine, Profile
from clearsight.core.profile_folder import gauges_file, read_profile, rewind, spans_file, write_machine
from clearsight.profiler.gauges import sources
from clearsight.profiler.sampler import Sampler
from clearsight.profiler.timing.step_timer import StepTimer

if TYPE_CHECKING:
    from clearsight.profiler.trace import TraceWindow  # it loads torch, which gauges alone do not need

log = logging.getLogger(__name__)


class Recording:
    """Measures this process into `folder` (a run's `profile/`); a context manager, and a Stopwatch.

    machine: what the job runs on; rank 0 writes it.  every: seconds in [0.1, 60] between looks at the machine.
    cuda: the loop trains on a GPU.  full: rank 0 traces a few steps.  planned_steps: of the whole run, 0: not known.
    last_step: of the checkpoint that the run goes on from; what lies in the folder of later steps is dropped, the rest
    is part of `profile`.  loads: sums so far of what readers spent.  pid: the process whose tree is looked at, None for
    this one.  visible: GPUs that the process may see, as in CUDA_VISIBLE_DEVICES; None for all.
    Raises BadValue for an `every` out of range.
    """

    def __init__(
        self,
        folder: Path,
        machine: Machine,
        *,
        every: float = 0.5,
        rank: int = 0,
        cuda: bool = False,
        full: bool = False,
        planned_steps: int = 0,
        last_step: int = 0,
        loads: Callable[[], Mapping[str, float]] | None = None,
        pid: int | None = None,
        visible: Sequence[str] | None = None,
    ) -> None:
        self.folder, self.machine = Path(folder), machine
        self._rank, self._cuda, self._last_step = rank, cuda, last_step
        self._traced = full and rank == 0
        self._to_come = max(0, planned_steps - last_step) if planned_steps else 0
        self._earlier, self._failures = Profile(), list[str]()
        self._started = self._closed = False
        self._window: TraceWindow | None = None
        found = None if visible is None else sources(pid, visible)
        self.sampler = Sampler(self.folder, every=every, rank=rank, pid=pid, sources=found)
        self.clock = StepTimer(
            spans_file(self.folder, rank),
            rank=rank,
            cuda=cuda,
            loads=loads,
            launched=machine.launched or None,
            done=last_step,
        )
        # Bound once: the loop calls the clock's own methods, without a detour.
        self.phase, self.stretch, self.cut = self.clock.phase, self.clock.stretch, self.clock.cut
        self.note_images = self.clock.note_images
        self.step = self._step_in_window if self._traced else self.clock.step

    def __enter__(self) -> Recording:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """What could not be measured or written, "" where nothing went wrong."""
        window = self._window.failure if self._window is not None else ""
        return "; ".join(text for text in (*self._failures, self.clock.failure, window, self.sampler.failure) if text)

    @property
    def why_no_trace(self) -> str:
        """Why steps were to be traced and were not, "" where there is nothing to explain."""
        return self._window.why if self._window is not None else ""

    def start(self) -> None:
        """Begin to measure; once begun, nothing more."""
        if self._started:
            return
        self._started = True
        self._attempt(self._take_up)
        self._attempt(self.sampler.start)
        if self._traced:
            self._attempt(self._open_window)

    def describe(self, machine: Machine) -> None:
        """What the job runs on, as it is known by now; in the place of what was said before."""
        self.machine = machine
        if self._rank == 0:
            self._attempt(write_machine, self.folder, machine)

    def profile(self) -> Profile:
        """Everything that was measured so far, of earlier parts of the run too. What is measured later is not in it."""
        before, clock = self._earlier, self.clock
        trace = self._window.trace if self._window is not None else None
        return Profile(
            self.machine,
            [*before.looks, *self.sampler.looks],
            [*before.timed, *clock.steps],
            [*before.stretches, *clock.spans],
            trace or before.trace,
        )

    def close(self) -> None:
        """End the measuring and write the rest; once closed, nothing more."""
        if self._closed or not self._started:
            return
        self._closed = True
        if self._window is not None:
            self._window.stop()
        self.clock.annotate = None
        self.clock.close()
        self._attempt(self.sampler.stop)

    def _take_up(self) -> None:
        """Say what the job runs on, and take up what an earlier process measured."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.describe(self.machine)
        try:
            rewind(self.folder, self._last_step, self._rank)
            found = read_profile(self.folder)
        except BadData as error:
            self._set_aside()
            what = f"what was measured before is damaged ({error}); it was set aside as *.damaged"
            raise BadData(str(self.folder), what) from error
        mine = self._rank
        self._earlier = Profile(
            found.machine,
            [look for look in found.looks if look.rank == mine],
            [times for times in found.timed if times.rank == mine],
            [span for span in found.stretches if span.rank == mine],
            found.trace if mine == 0 else None,
        )

    def _set_aside(self) -> None:
        """Rename files of this rank that are damaged in the middle: what comes now could not be read beside it."""
        for path in (gauges_file(self.folder, self._rank), spans_file(self.folder, self._rank)):
            try:
                read_jsonl(path)
            except BadData:
                path.rename(path.with_name(f"{path.name}.damaged"))

    def _open_window(self) -> None:
        from clearsight.profiler.trace import TraceWindow

        self._window = TraceWindow(self.folder, planned_steps=self._to_come, cuda=self._cuda)
        self._window.start()
        self.clock.annotate = self._window.annotate

    def _step_in_window(self, step: int, epoch: int, samples: int) -> None:
        self.clock.step(step, epoch, samples)
        window = self._window
        if window is None:
            return
        if window.closing:
            with self.clock.stretch("trace", step, epoch):  # seconds, where the network is large
                window.step(step)
        else:
            window.step(step)
        self.clock.annotate = window.annotate

    def _attempt(self, work: Callable[..., None], *args: object) -> None:
        """The one place where a failure of this object itself ends: it is kept, and training never hears of it."""
        try:
            work(*args)
        except Exception as error:  # whatever it is, a measurement is not worth a training
            told = f"{type(error).__name__}: {error}"
            self._failures.append(told)
            log.warning("the profiler cannot measure all that it should: %s", told)
