"""Following: everything that is listened to in one process that trains with a loop of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import get_worker_info

from clearsight.core.profile import Machine, Span
from clearsight.core.profile_folder import span_line
from clearsight.profiler.external import image_hooks, torch_hooks
from clearsight.profiler.external.child_process import PROCESSES
from clearsight.profiler.external.collect import LINES
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.import_hook import ImportHook
from clearsight.profiler.external.listener import LoopTimer
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.loop_inspection import seen_in_batch, seen_in_pass
from clearsight.profiler.external.loop_tracker import LoopTracker
from clearsight.profiler.external.patches import Patches
from clearsight.profiler.external.shared_counters import SharedCounters
from clearsight.profiler.timing.line_file import LineFile

log = logging.getLogger(__name__)


class ProfilingSession:
    """Listens from `start` to `close`, and leaves nothing behind in torch or in other libraries.

    folder: the profile's.  spans: the file for spans outside of steps.  describe: takes the machine as far as it is
    known, after the first step and at the end.  Nothing raises: failures are logged once and said in `failure`.
    """

    def __init__(self, folder: Path, spans: Path, machine: Machine, describe: Callable[[Machine], None]) -> None:
        self.machine = machine
        self._describe_to, self._spans = describe, LineFile(spans)
        self._folder, self._patches, self._arrivals = folder, Patches(), ImportHook()
        self._failure = ""
        self._spent_before: Mapping[str, float] = {}  # when the last step ended
        self._spent_trying: Mapping[str, float] = {}  # when the last part of an evaluation was done
        self._aside: dict[str, float] = {}
        ledger = SharedCounters(lambda: folder / PROCESSES / f"loads.{_trainer()}")
        self.reader = LoadTimer(ledger, HotLines(folder / PROCESSES / LINES))
        self.course: LoopTracker | None = None

    @property
    def failure(self) -> str:
        """What went wrong, "" where nothing did."""
        course = f"the training loop: {self.course.failure}" if self.course and self.course.failure else ""
        return "; ".join(text for text in (self._failure, course, self.reader.failure) if text)

    @property
    def steps(self) -> int:
        """Training steps done."""
        return self.course.done if self.course is not None else 0

    def loads(self) -> Mapping[str, float]:
        """What all readers of this process spent so far, without what they read for evaluations. For the stopwatch."""
        self._spent_before = self.reader.sums()
        return {name: value - self._aside.get(name, 0.0) for name, value in self._spent_before.items()}

    def said_step(self, samples: int | None) -> None:
        """The script says that a step has ended."""
        if self.course is not None:
            self.course.said_step(samples)

    def start(self, open_watch: Callable[[], LoopTimer]) -> None:
        """Begin to listen. open_watch: gives the stopwatch when the first sign of training is seen."""
        self.course = LoopTracker(
            open_watch, self._note, begun=self._begun, stepped_once=self._describe, tried=self._tried
        )
        try:
            torch_hooks.listen(self.course, self.reader, self._patches)
            image_hooks.listen(self.reader, self._arrivals, self._patches, failed=self._failed)
        except Exception as error:  # another version of torch, say
            self._failed(error)
            self._patches.undo()

    def close(self, *, finalisation: bool = False) -> None:
        """Stop listening, put everything back, and write the rest.

        finalisation: since the last step the process does what is left to do, which is a span of its own.
        """
        course = self.course
        self._arrivals.forget()
        self._patches.undo()
        self.reader.close()
        if course is None or course.silent:
            return
        course.close()
        try:
            if course.done:
                self._describe()
                if finalisation:
                    now = time.perf_counter()
                    self._note(
                        Span(
                            name="finalisation",
                            start=time.time() - now + course.ended_at,
                            seconds=now - course.ended_at,
                            step=course.done,
                            epoch=course.epoch,
                        )
                    )
            self._spans.close()
        except OSError as error:
            self._failed(error)

    def _begun(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.machine = seen_in_pass(self.machine, module, args)
        if self.course is not None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch_hooks.listen_to_transfers(self.course, self._patches)

    def _describe(self) -> None:
        if self.course is not None:
            self.machine = seen_in_batch(self.machine, self.course.last_batch)
        self._describe_to(self.machine)

    def _tried(self) -> None:
        self._spent_trying = self.reader.sums()

    def _note(self, span: Span) -> None:
        if span.name == "validation":
            for name, value in self._spent_trying.items():
                self._aside[name] = self._aside.get(name, 0.0) + value - self._spent_before.get(name, 0.0)
            self._spent_before = self._spent_trying
        self._spans.write(span_line(span))

    def _failed(self, error: Exception) -> None:
        self._failure = self._failure or f"{type(error).__name__}: {error}"
        log.warning("the profiler cannot listen to all that it should: %s", self._failure)


def _trainer() -> int:
    """The process that trains: this one, or the one whose batches this one reads."""
    parent = multiprocessing.parent_process()
    return parent.pid if get_worker_info() is not None and parent is not None and parent.pid else os.getpid()
