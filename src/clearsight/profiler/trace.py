"""TraceWindow and TracedStepTimer: a few training steps, traced operator by operator.

Tracing slows the traced steps and keeps every event in memory, so the window is short. It lies early in the run, but
after the first steps, which are not typical: memory is allocated and convolution algorithms are chosen in them.
"""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function, schedule
from torch.profiler import profile as TorchProfile

from clearsight.core.files import atomic
from clearsight.core.guard import Guard, failures
from clearsight.core.profile import Operator, Trace
from clearsight.core.profile_folder import write_trace
from clearsight.profiler.timing.step_timer import StepTimer

_log = logging.getLogger(__name__)

TRACE_FILE = "trace.json.gz"
_CAP_BYTES = 64 << 20  # of uncompressed JSON: every viewer that runs in a browser opens this much
_RESERVED = 4096  # bytes for the note about the events that were left out
# Operators that only create or rename a tensor. They compute nothing, so on a CPU they are not counted as kernels.
_BOOKKEEPING = frozenset(
    f"aten::{name}"
    for name in (
        *("alias", "as_strided", "chunk", "detach", "detach_", "expand", "expand_as", "flatten", "lift_fresh"),
        *("narrow", "permute", "reshape", "resize_", "result_type", "select", "set_", "slice", "split", "squeeze", "t"),
        *("to", "transpose", "unbind", "unsqueeze", "view", "view_as", "_reshape_alias", "_to_copy", "_unsafe_view"),
        *("contiguous", "empty", "empty_like", "empty_strided", "item", "_local_scalar_dense", "unfold", "numpy_T"),
    )
)
_TRANSFERS = ("Memcpy", "Memset")  # names of GPU activities that are not kernels


@dataclass(frozen=True, slots=True)
class TraceSchedule:
    """Steps that pass untraced, that are traced and dropped while the profiler warms up, and that are traced."""

    FEWEST = 3  # planned steps: one to warm up and two to trace

    wait: int = 10
    warmup: int = 2
    active: int = 4

    @classmethod
    def fit(cls, planned_steps: int) -> TraceSchedule:
        """Return the schedule for a run of so many steps (0: not known); `active` is 0 where they are too few."""
        if planned_steps <= 0:
            return cls()
        if planned_steps < cls.FEWEST:
            return cls(0, 0, 0)
        wait = min(cls().wait, planned_steps // 10)  # of a short run, the first tenth
        warmup = cls().warmup if planned_steps >= 2 * cls.FEWEST else 1
        return cls(wait, warmup, min(cls().active, planned_steps - wait - warmup))


class TraceWindow:
    """Traces a few training steps into trace.json.gz and operators.json in `folder`.

    planned_steps: steps to come, 0 where not known; under 3 there is no trace.  schedule: None for one that fits these
    steps.  cap_bytes: of the uncompressed trace.json.  cuda: trace the GPU too.
    Nothing raises: an error ends the tracing. It is logged once and kept in `failure`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        planned_steps: int = 0,
        schedule: TraceSchedule | None = None,
        cap_bytes: int = _CAP_BYTES,
        cuda: bool = False,
    ) -> None:
        self.trace: Trace | None = None
        self.guard = Guard("the profiler's tracing", report=_log.warning, on_failure=lambda _: self._abort())
        self._folder, self._cap, self._cuda = folder, cap_bytes, cuda
        self._schedule = schedule or TraceSchedule.fit(planned_steps)
        self._profiler: TorchProfile | None = None
        self._steps = self._first = self._last = 0
        self._start_time = self._end_time = 0.0  # of the traced steps, from time.perf_counter
        self._no_trace_reason = ""
        if self._schedule.active < 1:
            self._no_trace_reason = (
                f"too few steps to trace: {planned_steps}; tracing needs at least {TraceSchedule.FEWEST}"
            )

    def __enter__(self) -> TraceWindow:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def failure(self) -> str:
        """The error that ended the tracing, "" for none."""
        return failures([self.guard])

    @property
    def no_trace_reason(self) -> str:
        """The reason why there is no trace, "" before the window is over and where there is one."""
        return self.failure or self._no_trace_reason

    @property
    def annotate(self) -> Callable[[str], AbstractContextManager[object]] | None:
        """Return the function that shows a named range in the trace, None while steps pass untraced."""
        return record_function if self._profiler is not None and self._steps >= self._schedule.wait else None

    @property
    def closing(self) -> bool:
        """Return True if the next `step` ends the window. It then evaluates the trace, which takes a while."""
        schedule = self._schedule
        return self._profiler is not None and self._steps + 1 >= schedule.wait + schedule.warmup + schedule.active

    def start(self) -> None:
        """Begin: the next training step is the first that the schedule counts."""
        if not self._no_trace_reason:
            self.guard.run(self._start)

    def step(self, step: int = 0) -> None:
        """End a training step. step: its number, from 1, where it is not the number of calls."""
        if self._profiler is not None:
            self.guard.run(self._step, step)

    def stop(self) -> None:
        """End the tracing and write the trace of the whole steps so far."""
        if self._profiler is not None:
            self.guard.run(self._stop)

    def _start(self) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._cuda else [])]
        parts = self._schedule
        profiler = TorchProfile(
            activities=activities,
            schedule=schedule(wait=parts.wait, warmup=parts.warmup, active=parts.active, repeat=1),
            on_trace_ready=self._write,
            profile_memory=True,
            acc_events=True,
        )
        profiler.start()
        self._profiler = profiler

    def _step(self, step: int) -> None:
        profiler, now = self._profiler, time.perf_counter()
        assert profiler is not None
        self._steps += 1
        untraced = self._schedule.wait + self._schedule.warmup
        if self._steps > untraced:
            self._last, self._end_time = step or self._steps, now
            self._first = self._first or self._last
        profiler.step()
        if self._steps == untraced:
            # After profiler.step(), which starts the collection and takes a while itself.
            self._start_time = time.perf_counter()
        if self._steps >= untraced + self._schedule.active:
            self._stop()

    def _stop(self) -> None:
        if self._profiler is None:
            return
        self._profiler.stop()
        self._profiler = None  # not before it has stopped: after an error `_abort` has to stop it
        if self.trace is None:
            self._no_trace_reason = "the run ended before a step was traced"

    def _write(self, profiler: TorchProfile) -> None:
        """Keep and write the trace."""
        if not self._first:
            return
        events = profiler.events() or ()  # type: ignore[no-untyped-call]
        operators, kernels, kernel_seconds = summary(events, cuda=self._cuda)
        self.trace = Trace(
            first=self._first,
            last=self._last,
            seconds=self._end_time - self._start_time,
            operators=operators,
            kernels=kernels,
            kernel_seconds=kernel_seconds,
            peak_bytes=torch.cuda.max_memory_allocated() if self._cuda else 0,
        )
        write_trace(self._folder, self.trace)
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "trace.json"
            profiler.export_chrome_trace(str(whole))
            write_trace_file(whole, self._folder / TRACE_FILE, self._cap)

    def _abort(self) -> None:
        """Stop torch's profiler after an error: while it records, no other one can start."""
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            with suppress(Exception):  # it is broken already, and its first error is reported
                profiler.stop()


class TracedStepTimer:
    """Stopwatch made of `timer` and of a `TraceWindow` that writes into `folder`.

    planned_steps: of this process, 0 where not known.  cuda: the steps run on a GPU. Nothing raises.
    """

    def __init__(self, timer: StepTimer, folder: Path, *, planned_steps: int = 0, cuda: bool = False) -> None:
        self._timer = timer
        self.window = TraceWindow(folder, planned_steps=planned_steps, cuda=cuda)
        # Bound once: the loop calls the timer's own methods, without a detour.
        self.phase, self.span, self.cut, self.note_images = timer.phase, timer.span, timer.cut, timer.note_images

    def start(self) -> None:
        """Begin to trace: the next training step is the first that the window counts."""
        self.window.start()
        self._timer.annotate = self.window.annotate

    def step(self, step: int, epoch: int, samples: int) -> None:
        """End a training step."""
        timer, window = self._timer, self.window
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
        self.window.stop()
        self._timer.annotate = None
        self._timer.close()


def summary(events: Iterable[Any], *, cuda: bool) -> tuple[tuple[Operator, ...], int, float]:
    """Return the operators by their own time, longest first, the number of kernels, and the kernels' seconds.

    events: of torch.profiler. On a CPU a kernel is an operator of torch that computes, with its own time; operators
    that only create or rename a tensor are not counted.
    """
    calls: dict[str, list[Any]] = {}
    kernels, kernel_us = 0, 0.0
    for event in events:
        if event.is_user_annotation or event.name.startswith(("[", "ProfilerStep")):
            continue  # named ranges of time, and records of memory
        if event.device_type.name != "CPU":
            if cuda and not event.name.startswith(_TRANSFERS):
                kernels, kernel_us = kernels + 1, kernel_us + event.device_time_total
            continue
        calls.setdefault(event.name, []).append(event)
        if not cuda and event.name.startswith("aten::") and event.name not in _BOOKKEEPING:
            kernels, kernel_us = kernels + 1, kernel_us + event.self_cpu_time_total
    operators = [_operator(name, same, cuda=cuda) for name, same in calls.items()]
    operators.sort(key=lambda operator: operator.cpu_seconds + operator.device_seconds, reverse=True)
    return tuple(operators), kernels, kernel_us / 1e6


def _operator(name: str, calls: list[Any], *, cuda: bool) -> Operator:
    memory = "self_device_memory_usage" if cuda else "self_cpu_memory_usage"
    return Operator(
        name=name,
        calls=len(calls),
        cpu_seconds=sum(call.self_cpu_time_total for call in calls) / 1e6,
        device_seconds=sum(call.self_device_time_total for call in calls) / 1e6 if cuda else 0.0,
        memory_bytes=max(0, int(sum(getattr(call, memory) for call in calls))),
    )


def write_trace_file(source: Path, target: Path, cap_bytes: int) -> int:
    """Write the trace `source` (JSON) to `target` (.json.gz), whole or not at all. Return how many events are left out.

    The file is for Perfetto (ui.perfetto.dev) or chrome://tracing.
    cap_bytes: of uncompressed JSON. Above it the shortest events are left out until the rest fits; "otherData" then
    holds their number and the microseconds of the longest of them. Names of threads and processes stay.
    Raises OSError and DiskFull, and ValueError where `source` is not a trace.
    """
    with atomic(target, sync=False) as part:
        if source.stat().st_size <= cap_bytes:
            with source.open("rb") as file, gzip.open(part, "wb") as packed:
                shutil.copyfileobj(file, packed)
            return 0
        trace, left_out = _thinned(json.loads(source.read_bytes()), cap_bytes)
        with gzip.open(part, "wb") as packed:
            packed.write(trace)
        return left_out


def _thinned(trace: dict[str, Any], cap_bytes: int) -> tuple[bytes, int]:
    """Return the trace as JSON of at most `cap_bytes`, if names and frame fit, and the number of events left out."""
    events = trace["traceEvents"]
    texts = [json.dumps(event, separators=(",", ":")) for event in events]
    frame = {name: value for name, value in trace.items() if name != "traceEvents"}
    names = [at for at, event in enumerate(events) if event.get("ph") == "M"]
    room = cap_bytes - len(json.dumps(frame)) - sum(len(texts[at]) + 1 for at in names) - _RESERVED
    longest, left_out_us = _longest(events, texts, room)
    left_out = len(events) - len(names) - len(longest)
    frame["otherData"] = {
        **frame.get("otherData", {}),
        "events_left_out": left_out,
        "longest_left_out_us": left_out_us,
        "why": f"the trace was larger than {cap_bytes} bytes",
    }
    body = ",".join(texts[at] for at in sorted([*names, *longest]))
    # Joined by hand: the events are JSON already, and to encode them a second time doubles the time and the memory.
    head = json.dumps(frame, separators=(",", ":"))
    return f'{head[:-1]},"traceEvents":[{body}]}}'.encode(), left_out


def _longest(events: Sequence[Any], texts: Sequence[str], room: int) -> tuple[list[int], float]:
    """Return the places of the longest events that fit into `room` characters, and the microseconds of the next one.

    Instants and arrows count as events without a duration.
    """
    timed = [at for at, event in enumerate(events) if event.get("ph") != "M"]
    timed.sort(key=lambda at: float(events[at].get("dur", 0)), reverse=True)
    longest: list[int] = []
    for at in timed:
        room -= len(texts[at]) + 1
        if room < 0:
            return longest, float(events[at].get("dur", 0))
        longest.append(at)
    return longest, 0.0
