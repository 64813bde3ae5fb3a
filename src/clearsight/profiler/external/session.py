"""ProfilingSession: everything that is hooked in one process with an external training loop."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import get_worker_info

from clearsight.core.guard import Guard, failures
from clearsight.core.profile import Machine, Span
from clearsight.core.profile_folder import span_line
from clearsight.profiler.external import image_hooks, layout, torch_hooks
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.import_hook import ImportHook
from clearsight.profiler.external.load_timer import LoadTimer, SharedCounters
from clearsight.profiler.external.loop_inspection import machine_of_batch, machine_of_pass
from clearsight.profiler.external.loop_state import LoopRecorder, LoopTimer
from clearsight.profiler.external.loop_tracker import LoopCallbacks, LoopTracker
from clearsight.profiler.external.patches import Patches
from clearsight.profiler.timing.line_file import LineFile

_log = logging.getLogger(__name__)


class ProfilingSession:
    """Hooks PyTorch and image libraries from `start` to `close`, and leaves nothing behind in them.

    folder: of the profile.  spans: the file for spans outside of steps.  describe: receives the machine as far as it is
    known, after the first step and at the end.  Nothing raises: errors are logged once and named in `failure`.
    """

    def __init__(self, folder: Path, spans: Path, machine: Machine, describe: Callable[[Machine], None]) -> None:
        self.machine = machine
        self.guard = Guard("the profiler's hooks", report=_log.warning, on_failure=lambda _: self._patches.undo())
        self.tracker: LoopTracker | None = None
        self._describe_to, self._spans = describe, LineFile(spans)
        self._patches, self._import_hook = Patches(), ImportHook()
        self._image_guards: Sequence[Guard] = ()
        counters = SharedCounters(lambda: layout.process_loads(folder, _trainer()))
        self._load_timer = LoadTimer(counters, HotLines(folder / layout.LINE_COUNTS))
        self._training_loads = TrainingLoads(self._load_timer.sums)

    @property
    def failure(self) -> str:
        """The parts that are off and why, "" where all work."""
        tracker = [self.tracker.guard] if self.tracker is not None else []
        return failures([self.guard, *tracker, self._load_timer.guard, *self._image_guards])

    @property
    def steps(self) -> int:
        """Training steps done."""
        return self.tracker.recorder.steps if self.tracker is not None else 0

    def loads(self) -> Mapping[str, float]:
        """Return the sums of what loading for training took so far. For the stopwatch, at the end of a step."""
        return self._training_loads.at_step()

    def mark_step(self, samples: int | None) -> None:
        """End a training step where the script says so. samples: in it, None for what was seen of it."""
        if self.tracker is not None:
            self.tracker.mark_step(samples)

    def start(self, open_timer: Callable[[], LoopTimer]) -> None:
        """Set the hooks. open_timer: returns the stopwatch, called at the first sign of training."""
        callbacks = LoopCallbacks(self._inspect_pass, self._describe, self._training_loads.note_evaluation)
        self.tracker = LoopTracker(LoopRecorder(open_timer, self._write), callbacks)
        self.guard.run(self._hook, self.tracker)  # fails with a version of torch that has other internals

    def close(self, *, finalisation: bool = False) -> None:
        """Remove the hooks and write the rest.

        finalisation: record the time since the last step as a span of this name, because the process is about to end.
        """
        # Hooks first, so that no event arrives while the rest is written.
        self._import_hook.cancel()
        self._patches.undo()
        self._load_timer.close()
        if self.tracker is None or self.tracker.silent:
            return
        self.tracker.close()
        self.guard.finish(self._write_end, self.tracker.recorder, finalisation)

    def _hook(self, tracker: LoopTracker) -> None:
        torch_hooks.listen(tracker, self._load_timer, self._patches)
        self._image_guards = image_hooks.listen(self._load_timer, self._import_hook, self._patches)

    def _inspect_pass(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.machine = machine_of_pass(self.machine, module, args)
        if self.tracker is not None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch_hooks.listen_to_transfers(self.tracker, self._patches)

    def _describe(self) -> None:
        if self.tracker is not None:
            self.machine = machine_of_batch(self.machine, self.tracker.recorder.last_batch)
        self._describe_to(self.machine)

    def _write(self, span: Span) -> None:
        if span.name == "validation":
            self._training_loads.end_evaluation()
        self._spans.write(span_line(span))

    def _write_end(self, recorder: LoopRecorder, finalisation: bool) -> None:
        if recorder.steps:
            self._describe()
            if finalisation:
                recorder.span("finalisation", recorder.last_end, time.perf_counter())
        self._spans.close()


class TrainingLoads:
    """Sums of what loading took, without what was loaded for evaluations. sums: reads those of all loading."""

    def __init__(self, sums: Callable[[], Mapping[str, float]]) -> None:
        self._sums = sums
        self._at_step: Mapping[str, float] = {}  # when the last step ended
        self._in_evaluation: Mapping[str, float] = {}  # when the last part of an evaluation was done
        self._excluded: dict[str, float] = {}

    def at_step(self) -> dict[str, float]:
        """Return the sums of training, at the end of a step."""
        self._at_step = self._sums()
        return {name: value - self._excluded.get(name, 0.0) for name, value in self._at_step.items()}

    def note_evaluation(self) -> None:
        """Note the sums where a part of what may be an evaluation ends."""
        self._in_evaluation = self._sums()

    def end_evaluation(self) -> None:
        """Exclude what was loaded between the last step and the last part of the evaluation."""
        for name, value in self._in_evaluation.items():
            self._excluded[name] = self._excluded.get(name, 0.0) + value - self._at_step.get(name, 0.0)
        self._at_step = self._in_evaluation


def _trainer() -> int:
    """Return the process that trains: this one, or in a loader worker the one that it loads for."""
    parent = multiprocessing.parent_process()
    return parent.pid if get_worker_info() is not None and parent is not None and parent.pid else os.getpid()
