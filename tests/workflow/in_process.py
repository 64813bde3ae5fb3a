"""Studies whose trials run in this process, with the JobRunner of a worker process.

Worker processes, which can be killed, are tested in tests/walks/test_study_survives.py: each costs seconds of imports.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, EpochDone, ExecutorEvent
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Trial
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.job_runner import JobRunner
from clearsight.workflow.study.lead import StudyContext
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.tune import tune

TINY: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "epochs": 2,
    "limit": 120,
    "batch_size": 16,
}


class InProcessExecutor:
    """Executor with one worker, a thread of this process. assignments: all so far."""

    slots = 1

    def __init__(self, paths: Paths) -> None:
        self.assignments: list[Assignment] = []
        self._runner = JobRunner(WorkerResources(paths=paths, threads=2))
        self._events: queue.Queue[ExecutorEvent] = queue.Queue()
        self._replies: queue.Queue[str] = queue.Queue()
        self._interruption, self._prunable = "", False
        self._thread = threading.Thread()

    def start(self, assignment: Assignment) -> None:
        self.assignments.append(assignment)
        self._interruption, self._prunable = "", assignment.prunable
        self._thread = threading.Thread(target=self._run, args=(assignment,))
        self._thread.start()

    def reply(self, number: int, epoch: int, stop: str) -> None:
        self._replies.put(stop)

    def interrupt(self) -> None:
        self._interruption = "the study was interrupted"
        self._replies.put("")

    def events(self, seconds: float) -> list[ExecutorEvent]:
        try:
            return [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []

    def close(self) -> None:
        if self._thread.is_alive():
            self.interrupt()
            self._thread.join()

    # --- calls of the worker

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        self._events.put(EpochDone(worker=0, number=number, epoch=epoch, scores=scores))
        return self._replies.get() if self._prunable else ""

    def interruption(self) -> str:
        return self._interruption

    def _run(self, assignment: Assignment) -> None:
        self._events.put(AssignmentStarted(worker=0, key=assignment.key))
        results = self._runner.run(assignment, self)
        self._events.put(AssignmentDone(worker=0, key=assignment.key, results=tuple(results)))


@contextmanager
def in_process() -> Iterator[list[InProcessExecutor]]:
    """Run studies within the block in this process; yield their executors."""
    executors: list[InProcessExecutor] = []

    def build(plan: Any, base: Any, paths: Paths, logs: Path, gpus: int) -> InProcessExecutor:
        executors.append(InProcessExecutor(paths))
        return executors[-1]

    with mock.patch("clearsight.workflow.study.lead.build_executor", build):
        yield executors


def tune_here(data: Path, out: Path, **settings: Any) -> Study:
    """Run a study of tiny trials in this process. Its caches are next to `out` unless `launch` names others."""
    values = {**TINY, "searcher": "random", "pruner": "none", "launch": study_context(out.parent), **settings}
    with in_process():
        return tune(data, out=out, **values)


def study_context(folder: Path, *observers: Any, **fields: Any) -> StudyContext:
    """Return a context with a cache below `folder`."""
    return StudyContext(paths=Paths(cache=folder / "cache", weights=()), observers=observers, **fields)


class EventLog:
    """Observer that records the events. act: called with the name of the event and the trial."""

    def __init__(self, act: Callable[[str, Trial], None] = lambda event, trial: None) -> None:
        self._act = act
        self.events: list[tuple[Any, ...]] = []
        self.earlier: Sequence[Trial] = ()  # trials at the beginning

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self.earlier = trials
        self.events.append(("begin",))

    def on_trial(self, trial: Trial) -> None:
        self.events.append(("trial", trial.number))
        self._act("trial", trial)

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self.events.append(("epoch", trial.number, epoch))
        self._act("epoch", trial)

    def on_result(self, trial: Trial) -> None:
        self.events.append(("result", trial.number, trial.state.value))
        self._act("result", trial)

    def on_trouble(self, sentence: str) -> None:
        self.events.append(("trouble", sentence))

    def on_end(self, status: StudyStatus, reason: str) -> None:
        self.events.append(("end", status.value))
