"""Studies whose trials are carried out in this process, by the very bench that a worker process has.

What a process of its own adds, such as that it can be killed, is walked in tests/walks/test_study_survives.py; it costs
seconds of imports for each study.
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
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.tune import StudyContext, tune

TINY: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "epochs": 2,
    "limit": 120,
    "batch_size": 16,
}


class Here:
    """An executor with one worker: a thread of this process. Keeps clearsight.core.executor.Executor.

    given: the assignments so far.
    """

    slots = 1

    def __init__(self, places: Paths) -> None:
        self.given: list[Assignment] = []
        self._bench = JobRunner(WorkerResources(places=places, threads=2))
        self._events: queue.Queue[ExecutorEvent] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        self._interrupted, self._told = "", False
        self._thread = threading.Thread()

    def start(self, assignment: Assignment) -> None:
        self.given.append(assignment)
        self._interrupted, self._told = "", assignment.told
        self._thread = threading.Thread(target=self._carry_out, args=(assignment,))
        self._thread.start()

    def answer(self, number: int, epoch: int, stop: str) -> None:
        self._answers.put(stop)

    def interrupt(self) -> None:
        self._interrupted = "the study was interrupted"
        self._answers.put("")

    def events(self, seconds: float) -> list[ExecutorEvent]:
        try:
            return [self._events.get(timeout=seconds)]
        except queue.Empty:
            return []

    def close(self) -> None:
        if self._thread.is_alive():
            self.interrupt()
            self._thread.join()

    # --- the worker's end -----------------------------------------------------------------------------------------

    def epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        self._events.put(EpochDone(worker=0, number=number, epoch=epoch, scores=scores))
        return self._answers.get() if self._told else ""

    def interrupted(self) -> str:
        return self._interrupted

    def _carry_out(self, assignment: Assignment) -> None:
        self._events.put(AssignmentStarted(worker=0, key=assignment.key))
        outcomes = self._bench.carry_out(assignment, self)
        self._events.put(AssignmentDone(worker=0, key=assignment.key, outcomes=tuple(outcomes)))


@contextmanager
def working_here() -> Iterator[list[Here]]:
    """Within the block studies are carried out in this process; gives the executors that were made."""
    made: list[Here] = []

    def build(plan: Any, base: Any, places: Paths, logs: Path, gpus: int) -> Here:
        made.append(Here(places))
        return made[-1]

    with mock.patch("clearsight.workflow.tune.build_executor", build):
        yield made


def tuned(data: Path, out: Path, **settings: Any) -> Study:
    """A study of tiny trials, carried out here; its caches lie beside it unless `around` says otherwise."""
    given = {**TINY, "searcher": "random", "pruner": "none", "around": around(out.parent), **settings}
    with working_here():
        return tune(data, out=out, **given)


def around(folder: Path, *observers: Any, **more: Any) -> StudyContext:
    """Circumstances with a cache of their own."""
    return StudyContext(places=Paths(cache=folder / "cache", weights=()), observers=observers, **more)


class Heard:
    """An observer that keeps what it was told, and may act on it.

    act: called with the event's name and the trial.
    """

    def __init__(self, act: Callable[[str, Trial], None] = lambda event, trial: None) -> None:
        self._act = act
        self.events: list[tuple[Any, ...]] = []
        self.before: Sequence[Trial] = ()

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None:
        self.before = trials
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
