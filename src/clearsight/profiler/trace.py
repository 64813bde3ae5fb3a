"""TraceWindow: a few training steps, traced operator by operator.

Tracing slows the steps that it looks at and keeps every event in memory, so it looks at a short window, early in the
run but after the first steps, which are like no others (memory is fetched, algorithms are chosen).
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function, schedule
from torch.profiler import profile as TorchProfile

from clearsight.core.profile import Operator, Trace
from clearsight.core.profile_folder import write_trace
from clearsight.profiler.trace_file import write_trace_file

log = logging.getLogger(__name__)

TRACE_FILE = "trace.json.gz"
_CAP_BYTES = 64 << 20
_WAIT, _WARMUP, _ACTIVE = 10, 2, 4
_BOOKKEEPING = frozenset(
    f"aten::{name}"
    for name in (
        *(
            "alias",
            "as_strided",
            "chunk",
            "detach",
            "detach_",
            "expand",
            "expand_as",
            "flatten",
            "lift_fresh",
            "narrow",
        ),
        *("permute", "reshape", "resize_", "result_type", "select", "set_", "slice", "split", "squeeze", "t", "to"),
        *("transpose", "unbind", "unsqueeze", "view", "view_as", "_reshape_alias", "_to_copy", "_unsafe_view"),
        *("contiguous", "empty", "empty_like", "empty_strided", "item", "_local_scalar_dense", "unfold", "numpy_T"),
    )
)
_FEWEST = 3  # steps: one to warm up and two to trace
_TRANSFERS = ("Memcpy", "Memset")  # the GPU's own names for what is not computing


class TraceWindow:
    """Traces `active` training steps after `wait` that pass unseen and `warmup` that are traced and dropped.

    folder: where trace.json.gz and operators.json go once the window is over.  planned_steps: how many steps are to
    come, 0 where that is not known; the window shrinks to fit, and under 3 there is none.  wait, warmup, active: None
    takes at most 10 (a tenth of the steps), 2 and 4.  cap_bytes: of the uncompressed trace.json.
    Nothing raises: what fails is logged once and said in `failure`. `why`: why there is no trace, "" before and after.
    """

    def __init__(
        self,
        folder: Path,
        *,
        planned_steps: int = 0,
        wait: int | None = None,
        warmup: int | None = None,
        active: int | None = None,
        cap_bytes: int = _CAP_BYTES,
        cuda: bool = False,
    ) -> None:
        fitting = window(planned_steps)
        self.trace: Trace | None = None
        self.why = self.failure = ""
        self._folder, self._cap, self._cuda = folder, cap_bytes, cuda
        self._wait, self._warmup, self._active = (
            fit if said is None else said for said, fit in zip((wait, warmup, active), fitting, strict=True)
        )
        self._profiler: TorchProfile | None = None
        self._steps = self._first = self._last = 0
        self._began = self._ended = 0.0
        if self._active < 1:
            self.why = f"too few steps to trace: {planned_steps}, and it takes {_FEWEST}"

    def __enter__(self) -> TraceWindow:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def annotate(self) -> Callable[[str], AbstractContextManager[object]] | None:
        """What shows a named range in the trace, while there is one to show it in."""
        return record_function if self._profiler is not None and self._steps >= self._wait else None

    @property
    def closing(self) -> bool:
        """Whether the next `step` ends the window: it then takes a while to look through what was traced."""
        return self._profiler is not None and self._steps + 1 >= self._wait + self._warmup + self._active

    def start(self) -> None:
        """The next training step is the first."""
        if not self.why:
            self._attempt(self._start)

    def step(self, step: int = 0) -> None:
        """A training step has ended; step: its number, from 1, where it is not the number of calls."""
        if self._profiler is not None:
            self._attempt(self._step, step)

    def stop(self) -> None:
        """Trace no more; what whole steps were traced by now is written."""
        if self._profiler is not None:
            self._attempt(self._stop)

    def _start(self) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._cuda else [])]
        profiler = TorchProfile(
            activities=activities,
            schedule=schedule(wait=self._wait, warmup=self._warmup, active=self._active, repeat=1),
            on_trace_ready=self._ready,
            profile_memory=True,
            acc_events=True,
        )
        profiler.start()
        self._profiler = profiler

    def _step(self, step: int) -> None:
        profiler, now = self._profiler, time.perf_counter()
        assert profiler is not None
        self._steps += 1
        before = self._wait + self._warmup
        if self._steps > before:
            self._last, self._ended = step or self._steps, now
            self._first = self._first or self._last
        profiler.step()
        if self._steps == before:
            self._began = time.perf_counter()
        if self._steps >= before + self._active:
            self._stop()

    def _stop(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        try:
            profiler.stop()
        except Exception:
            self._profiler = profiler  # for the one place where failures end
            raise
        if self.trace is None:
            self.why = "the run ended before a step was traced"

    def _ready(self, profiler: TorchProfile) -> None:
        """Keep and write what was traced."""
        if not self._first:
            return
        events = profiler.events() or ()  # type: ignore[no-untyped-call]
        operators, kernels, kernel_seconds = summary(events, cuda=self._cuda)
        self.trace = Trace(
            first=self._first,
            last=self._last,
            seconds=self._ended - self._began,
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

    def _attempt(self, work: Callable[..., None], *args: object) -> None:
        """The one place where what fails inside ends: nothing is traced any more, and training never hears of it."""
        try:
            work(*args)
        except Exception as error:  # whatever it is, a trace is not worth a training
            profiler, self._profiler = self._profiler, None
            self.failure = self.why = f"trace: {type(error).__name__}: {error}"
            log.warning("the profiler stopped tracing: %s", self.failure)
            if profiler is not None:
                with suppress(Exception):  # it is broken already; torch must only be told to stop recording
                    profiler.stop()


def window(planned_steps: int = 0) -> tuple[int, int, int]:
    """Steps to wait, to warm up and to trace, of so many (0: not known); none to trace where they are too few."""
    if planned_steps <= 0:
        return _WAIT, _WARMUP, _ACTIVE
    if planned_steps < _FEWEST:
        return 0, 0, 0
    wait = min(_WAIT, planned_steps // 10)
    warmup = _WARMUP if planned_steps >= 2 * _FEWEST else 1
    return wait, warmup, min(_ACTIVE, planned_steps - wait - warmup)


def summary(events: Iterable[Any], *, cuda: bool) -> tuple[tuple[Operator, ...], int, float]:
    """Operators by their own time, dearest first; how many kernels ran, and their seconds.

    events: of torch.profiler. On a CPU the kernels are the operators of torch that compute, each with its own time;
    those that only make or rename a tensor are none.
    """
    calls: dict[str, list[Any]] = {}
    kernels, kernel_us = 0, 0.0
    for event in events:
        if event.is_user_annotation or event.name.startswith(("[", "ProfilerStep")):
            continue  # names that somebody gave to stretches of time, and notes about memory
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
