"""Profiling inside of the processes of a command under `clearsight profile`.

Every Python process of the command waits until it imports torch, and loads next to nothing before. A process that
trains writes its steps to files of its own (`layout`), from which `collect` makes the profile of the run.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from clearsight.profiler.external.import_hook import ImportHook
from clearsight.profiler.external.layout import PROBLEMS, process_machine, process_spans

if TYPE_CHECKING:
    from clearsight.core.profile import Machine
    from clearsight.profiler.timing.step_timer import StepTimer
    from clearsight.profiler.trace import TracedStepTimer


def begin(folder: Path, *, full: bool = False, rank: int = 0) -> None:
    """Profile this process as soon as it imports torch.

    folder: of the profile.  full: rank 0 traces a few steps.  rank: in a distributed run.
    """
    ImportHook().when_imported("torch", lambda _: _profile(folder, full, rank))


def report_problem(folder: Path, problem: str) -> None:
    """Append a problem to the file that the profiler outside of the command reads, if the file can be written."""
    path = folder / PROBLEMS
    with contextlib.suppress(OSError):  # nothing else can report it, and the script must not fail by it
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(problem + "\n")


def _profile(folder: Path, full: bool, rank: int) -> None:
    from clearsight.core.guard import Guard  # loads logging, which a process without torch may not need

    guard = Guard("the profiler in the script", report=partial(report_problem, folder))
    process = guard.run(_ProfiledProcess, folder, full, rank)
    if process is None:
        return
    atexit.register(process.close)
    # Only the main thread may set handlers, and a handler of the script's own stays.
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, process.terminate)


class _ProfiledProcess:
    """A process that may train. It times its steps; its gauges are sampled from outside."""

    def __init__(self, folder: Path, full: bool, rank: int) -> None:
        from clearsight.profiler.external.session import ProfilingSession
        from clearsight.profiler.machine_info import machine_info

        self._folder, self._full, self._rank, self._pid = folder, full, rank, os.getpid()
        self._spans = process_spans(folder, self._pid, rank)
        self._timer: StepTimer | TracedStepTimer | None = None
        self._session = ProfilingSession(folder, self._spans, machine_info(), self._describe)
        self._session.start(self._open_timer)

    def close(self) -> None:
        """Write the rest before the process ends."""
        if os.getpid() != self._pid:  # a forked child runs the exit handlers of its parent
            return
        self._session.close(finalisation=True)
        if self._timer is not None:
            self._timer.close()
        # Problems of processes that trained nothing, such as loader workers, do not matter.
        if self._session.steps and (problem := self._session.failure):
            report_problem(self._folder, problem)

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Write the rest at SIGTERM, and end as the process would have ended without the profiler."""
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _open_timer(self) -> StepTimer | TracedStepTimer:
        import torch

        from clearsight.profiler.timing.gpu_timer import GpuTimer
        from clearsight.profiler.timing.step_log import StepLog
        from clearsight.profiler.timing.step_timer import StepTimer
        from clearsight.profiler.trace import TracedStepTimer

        cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        timer = StepTimer(
            StepLog(self._spans),
            rank=self._rank,
            loads=self._session.loads,
            launched=self._session.machine.launched,
            gpu=GpuTimer() if cuda else None,
        )
        self._timer = timer
        if self._full and not self._rank:
            self._timer = TracedStepTimer(timer, self._folder, cuda=cuda)
            self._timer.start()
        return self._timer

    def _describe(self, machine: Machine) -> None:
        from clearsight.core.files import write_json

        write_json(process_machine(self._spans), machine.to_json())
