"""Injection: a process of a command under `clearsight profile` listens to itself.

Every Python process of the command waits for torch to be imported, and loads next to nothing until then. One that
trains writes its steps to files of its own in `profile/processes`, of which `gathering` makes the run's.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from clearsight.profiler.external.import_hook import ImportHook

if TYPE_CHECKING:
    from clearsight.core.profile import Machine
    from clearsight.profiler.external.traced_timer import TracedStepTimer
    from clearsight.profiler.timing.step_timer import StepTimer

PROCESSES = "processes"  # folder in the profile's, for what single processes leave
PROBLEM = "problem.txt"  # in it: what they could not measure


def begin(folder: Path, *, full: bool = False, rank: int = 0) -> None:
    """Listen to this process as soon as it imports torch. folder: the profile's.  rank: of a distributed run."""
    ImportHook().when_imported("torch", lambda _: _listen(folder, full, rank))


def tell(folder: Path, problem: str) -> None:
    """Leave a note for whoever started the command, if there is a place for it."""
    path = folder / PROCESSES / PROBLEM
    with contextlib.suppress(OSError):  # nobody is left to tell, and the script is not to hear of it
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(problem + "\n")


def _listen(folder: Path, full: bool, rank: int) -> None:
    try:
        injected = _Injected(folder, full, rank)
    except Exception as error:  # the script goes on as if nobody had wanted to look
        tell(folder, f"{type(error).__name__}: {error}")
        return
    atexit.register(injected.close)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, injected.terminated)


class _Injected:
    """One process that may train: it measures its steps; its gauges are read from outside."""

    def __init__(self, folder: Path, full: bool, rank: int) -> None:
        from clearsight.profiler.external.session import ProfilingSession
        from clearsight.profiler.machine_info import machine_info

        self._folder, self._full, self._rank, self._pid = folder, full, rank, os.getpid()
        self._stem = f"{self._pid}.{rank}"
        self._watch: StepTimer | TracedStepTimer | None = None
        spans = folder / PROCESSES / f"spans.{self._stem}.jsonl"
        self._following = ProfilingSession(folder, spans, machine_info(), self._describe)
        self._following.start(self._open_watch)
        self._spans = spans

    def close(self) -> None:
        """The process ends."""
        if os.getpid() != self._pid:  # a child that was forked
            return
        self._following.close(finalisation=True)
        if self._watch is not None:
            self._watch.close()
        if self._following.steps and (problem := self._following.failure):
            tell(self._folder, problem)

    def terminated(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: write what there is, and end as the process would have without us."""
        self.close()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _open_watch(self) -> StepTimer | TracedStepTimer:
        import torch

        from clearsight.profiler.external.traced_timer import TracedStepTimer
        from clearsight.profiler.timing.step_timer import StepTimer

        clock = StepTimer(
            self._spans,
            rank=self._rank,
            cuda=torch.cuda.is_initialized(),  # type: ignore[no-untyped-call]
            loads=self._following.loads,
            launched=self._following.machine.launched,
        )
        self._watch = TracedStepTimer(clock, self._folder) if self._full and not self._rank else clock
        return self._watch

    def _describe(self, machine: Machine) -> None:
        from clearsight.core.files import write_json

        write_json(self._folder / PROCESSES / f"machine.{self._stem}.json", machine.to_json())
