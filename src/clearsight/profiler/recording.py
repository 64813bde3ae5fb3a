"""Recording: everything that is measured of a run, in one folder, from its start to its end.

It is the stopwatch of the training loop, samples the machine's gauges on a thread, and can trace a few steps.
Nothing in it raises once it is started: a part that fails is turned off, logged once and named in `failure`, and
training goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.errors import BadData
from clearsight.core.files import read_jsonl
from clearsight.core.guard import Guard, failures
from clearsight.core.profile import Machine, Profile
from clearsight.core.profile_folder import gauges_file, read_profile, rewind, spans_file, write_machine
from clearsight.profiler.gauges import sources
from clearsight.profiler.sampler import Sampler
from clearsight.profiler.timing.gpu_timer import GpuTimer
from clearsight.profiler.timing.step_log import StepLog
from clearsight.profiler.timing.step_timer import StepTimer

if TYPE_CHECKING:
    from clearsight.profiler.trace import TracedStepTimer


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingOptions:
    """Extent of a recording.

    every: seconds in [0.1, 60] between samples of the gauges.  full: rank 0 traces a few steps.  planned_steps: of the
    whole run, 0 where not known.  last_step: of the checkpoint from which the run continues; later steps in the folder
    are dropped, and the others are part of `Recording.profile`.  visible: GPUs that the process may use, as in
    CUDA_VISIBLE_DEVICES; None for all.
    """

    every: float = 0.5
    full: bool = False
    planned_steps: int = 0
    last_step: int = 0
    visible: Sequence[str] | None = None


class _State(Enum):
    NEW = "new"
    RUNNING = "running"
    CLOSED = "closed"


class Recording:
    """Measures this process into `folder` (a run's `profile/`). It is a context manager and a Stopwatch.

    machine: what the job runs on, written by rank 0.  loads: running sums of what the loader spent.
    Raises BadValue for an interval out of range.
    """

    def __init__(
        self,
        folder: Path,
        machine: Machine,
        options: RecordingOptions | None = None,
        *,
        rank: int = 0,
        loads: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        options = options or RecordingOptions()
        self.folder, self.machine = Path(folder), machine
        self.guard = Guard("the profiler's folder", report=logging.getLogger(__name__).warning)
        self._rank, self._last_step = rank, options.last_step
        self._earlier, self._state = Profile(), _State.NEW
        cuda = machine.device == "cuda"
        found = None if options.visible is None else sources(visible=options.visible)
        self.sampler = Sampler(self.folder, every=options.every, rank=rank, sources=found)
        self.timer = StepTimer(
            StepLog(spans_file(self.folder, rank)),
            rank=rank,
            loads=loads,
            launched=machine.launched or None,
            done=options.last_step,
            gpu=GpuTimer() if cuda else None,
        )
        self._traced: TracedStepTimer | None = None
        if options.full and rank == 0:  # one rank alone: the steps of the others are alike
            from clearsight.profiler.trace import TracedStepTimer  # loads torch, which gauges do not need

            steps_to_come = max(0, options.planned_steps - options.last_step)
            self._traced = TracedStepTimer(self.timer, self.folder, planned_steps=steps_to_come, cuda=cuda)
        # Bound once: the loop calls the timer's own methods, without a detour.
        stopwatch = self._traced or self.timer
        self.phase, self.span, self.cut = stopwatch.phase, stopwatch.span, stopwatch.cut
        self.note_images, self.step = stopwatch.note_images, stopwatch.step

    def __enter__(self) -> Recording:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> str:
        """The parts that could not be measured or written and why, "" where all work."""
        traced = self._traced.window.failure if self._traced is not None else ""
        texts = (failures([self.guard]), self.timer.failure, traced, self.sampler.failure)
        return "; ".join(text for text in texts if text)

    @property
    def no_trace_reason(self) -> str:
        """The reason why steps were to be traced and were not, "" where there is nothing to explain."""
        return self._traced.window.no_trace_reason if self._traced is not None else ""

    def start(self) -> None:
        """Begin to measure. A second call does nothing."""
        if self._state is not _State.NEW:
            return
        self._state = _State.RUNNING
        self.guard.run(self._recover)
        self.describe(self.machine)
        self.sampler.start()
        if self._traced is not None:
            self._traced.start()

    def describe(self, machine: Machine) -> None:
        """Replace the description of what the job runs on, when more of it is known."""
        self.machine = machine
        if self._rank == 0:
            # Not `run`: a later description is written even where the folder was damaged or an earlier one failed.
            self.guard.finish(write_machine, self.folder, machine)

    def profile(self) -> Profile:
        """Return everything measured so far, earlier parts of the run included. It does not change afterwards."""
        earlier = self._earlier
        trace = self._traced.window.trace if self._traced is not None else None
        return Profile(
            self.machine,
            [*earlier.gauge_samples, *self.sampler.samples],
            [*earlier.step_times, *self.timer.log.steps],
            [*earlier.all_spans, *self.timer.log.spans],
            trace or earlier.trace,
        )

    def close(self) -> None:
        """End the measuring and write the rest. It does nothing before `start`, and the second time."""
        if self._state is not _State.RUNNING:
            return
        self._state = _State.CLOSED
        # The gauges last: they also cover the writing of the trace.
        (self._traced or self.timer).close()
        self.sampler.stop()

    def _recover(self) -> None:
        """Read what an earlier process of this run measured, as far as the checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            rewind(self.folder, self._last_step, self._rank)
            found = read_profile(self.folder)
        except BadData as error:
            self._set_aside()
            problem = f"an earlier measurement is damaged ({error}); it was set aside as *.damaged"
            raise BadData(str(self.folder), problem) from error
        self._earlier = Profile(
            found.machine,
            [sample for sample in found.gauge_samples if sample.rank == self._rank],
            [times for times in found.step_times if times.rank == self._rank],
            [span for span in found.all_spans if span.rank == self._rank],
            found.trace if self._rank == 0 else None,
        )

    def _set_aside(self) -> None:
        """Rename damaged files of this rank, because lines appended to them could not be read."""
        for path in (gauges_file(self.folder, self._rank), spans_file(self.folder, self._rank)):
            try:
                read_jsonl(path)
            except BadData:
                path.rename(path.with_name(f"{path.name}.damaged"))
