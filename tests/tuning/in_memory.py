"""A study in memory: an executor that trains nothing, and an observer that keeps the events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadValue
from clearsight.core.executor import (
    Assignment,
    AssignmentDone,
    AssignmentStarted,
    EpochDone,
    ExecutorEvent,
    TrialTask,
    WorkerLost,
)
from clearsight.core.recipe import Recipe
from clearsight.core.space import Space
from clearsight.core.stop import StopReason
from clearsight.core.study import Searcher, Study, StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialResult, TrialState
from clearsight.testing.searchers import ACCURACY
from clearsight.tuning.runner import StudyRunner
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.tuning.trial_queue import PreparedTrial
from clearsight.tuning.trial_store import TrialStore

SPACE = parse_space(["lr=log(1e-5,1e-1)"])
COMPLETED = (StudyStatus.COMPLETED, None)


@dataclass
class MemoryExecutor:
    """An executor that does everything in memory, one event at a time, each worker in turn.

    curve: a trial's accuracy in each epoch, by number; the last one is its value.  deaths: how often a trial kills its
    worker.  endless: trials that run until they are interrupted.  failures: trial -> reason.
    reports_end: the last message arrives; otherwise the result is on disk and the worker is dead.
    """

    slots: int = 1
    curve: Callable[[int], Sequence[float]] = lambda number: (0.1, 0.2, number / 100)
    deaths: dict[int, int] = field(default_factory=dict)
    endless: set[int] = field(default_factory=set)
    failures: dict[int, str] = field(default_factory=dict)
    reports_end: bool = True
    assignments: list[Assignment] = field(default_factory=list)
    replies: dict[tuple[int, int], str] = field(default_factory=dict)
    interrupted: bool = False
    _busy: dict[int, Iterator[ExecutorEvent]] = field(default_factory=dict)
    _turn: int = 0

    def start(self, assignment: Assignment) -> None:
        worker = min(set(range(self.slots)) - set(self._busy))
        self.assignments.append(assignment)
        self._busy[worker] = self._run(assignment, worker)

    def reply(self, number: int, epoch: int, stop: str) -> None:
        self.replies[number, epoch] = stop

    def interrupt(self) -> None:
        self.interrupted = True

    def events(self, seconds: float) -> list[ExecutorEvent]:
        assert self._busy, "the study waits although nothing runs"
        workers = sorted(self._busy)
        worker = workers[self._turn % len(workers)]
        self._turn += 1
        event = next(self._busy[worker], None)
        if isinstance(event, AssignmentDone | WorkerLost):
            del self._busy[worker]
        return [event] if event is not None else []

    def close(self) -> None:
        self._busy.clear()

    def _run(self, assignment: Assignment, worker: int) -> Iterator[ExecutorEvent]:
        key, killed = assignment.key, "its worker was killed by SIGKILL"
        yield AssignmentStarted(worker=worker, key=key)
        results: list[TrialResult] = []
        for task in assignment.tasks:
            if self.deaths.get(task.number, 0):
                self.deaths[task.number] -= 1
                yield WorkerLost(worker=worker, key=key, reason=killed, log="out of memory")
                return
            result = yield from self._try(task, worker, assignment.prunable)
            if result is None:
                break
            TrialFolder(Path(task.folder)).write_result(result)
            results.append(result)
        if self.reports_end:
            yield AssignmentDone(worker=worker, key=key, results=tuple(results))
        else:
            yield WorkerLost(worker=worker, key=key, reason=killed)

    def _try(self, task: TrialTask, worker: int, prunable: bool) -> Any:
        number, curve = task.number, dict[int, dict[str, float]]()
        if number in self.failures:
            return TrialResult.failed(number, self.failures[number])
        for epoch, value in enumerate(self.curve(number), start=1):
            curve[epoch] = {"accuracy": value}
            yield EpochDone(worker=worker, number=number, epoch=epoch, scores=curve[epoch])
            while number in self.endless and not self.interrupted:
                yield None
            if self.interrupted:
                return None
            if prunable and (stop := self.replies.pop((number, epoch))):
                return TrialResult(number=number, state=TrialState.PRUNED, reason=stop, curve=curve)
        return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), curve=curve, seconds=2.0)


@dataclass
class EventLog:
    """An observer that keeps the events."""

    events: list[tuple[Any, ...]] = field(default_factory=list)

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None: ...

    def on_trial(self, trial: Trial) -> None:
        self.events.append(("trial", trial.number, trial.worker))

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self.events.append(("epoch", trial.number, epoch, value))

    def on_result(self, trial: Trial) -> None:
        self.events.append(("result", trial.number, trial.state.value))

    def on_trouble(self, sentence: str) -> None:
        self.events.append(("trouble", sentence))

    def on_end(self, status: StudyStatus, reason: str) -> None: ...


class MemoryStudy:
    """A study with its runner."""

    def __init__(
        self,
        study: Study,
        executor: MemoryExecutor,
        *,
        searcher: Searcher,
        pruner: str = "none",
        stack: int = 1,
        digest: Callable[[Trial], str] = lambda trial: json.dumps(trial.params),
        invalid: Callable[[Trial], bool] = lambda trial: False,
        halt: Callable[[], StopReason | None] = lambda: None,
    ) -> None:
        self.store = TrialStore(study, searcher, pruner, 10)
        self.study, self.executor, self.log = study, executor, EventLog()
        self._digest, self._invalid, self._stack = digest, invalid, stack
        self.runner = StudyRunner(
            study=study,
            store=self.store,
            executor=executor,
            prepare=self._prepare,
            group=self._group,
            batch=stack,
            observers=[self.log],
            halt=halt,
        )

    def run(self) -> tuple[StudyStatus, StopReason | None]:
        return self.runner.run()

    def trials(self) -> list[Trial]:
        return self.store.trials()

    def states(self) -> list[str]:
        return [trial.state.value for trial in self.trials()]

    def assigned(self) -> list[list[int]]:
        """The numbers of the trials in each assignment, in order."""
        return [[task.number for task in assignment.tasks] for assignment in self.executor.assignments]

    def _prepare(self, trial: Trial) -> PreparedTrial:
        if self._invalid(trial):
            raise BadValue("--freeze layer9", "no such stage")
        task = TrialTask(number=trial.number, folder=str(self.study.folder(trial.number)), recipe=dict(trial.params))
        return PreparedTrial(task=task, epochs=3, digest=self._digest(trial))

    def _group(self, tasks: Sequence[TrialTask]) -> list[tuple[TrialTask, ...]]:
        return [tuple(tasks[start : start + self._stack]) for start in range(0, len(tasks), self._stack)]


@contextmanager
def memory_study(
    path: Path,
    executor: MemoryExecutor | None = None,
    *,
    space: Space = SPACE,
    searcher: Searcher | None = None,
    plan: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[MemoryStudy]:
    """A new study of five trials, or the one in the folder."""
    if Study.exists(path):
        study = Study.open(path)
    else:
        values = {"data": "/d", "space": space, "objectives": (ACCURACY,), "trials": 5, **(plan or {})}
        study = Study.begin(path, StudyPlan(**values), Recipe())
    opened = MemoryStudy(study, executor or MemoryExecutor(), searcher=searcher or Random(), **options)
    try:
        yield opened
    finally:
        opened.store.close()
