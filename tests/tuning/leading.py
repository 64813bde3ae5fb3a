"""A study led by hand: an executor that does everything in memory, and an observer that writes down what it hears."""

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
from clearsight.core.study import Searcher, Study, StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialResult, TrialState
from clearsight.testing.searchers import ACCURACY
from clearsight.tuning.runner import PreparedTrial, StudyRunner
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.tuning.trial_store import TrialStore

SPACE = parse_space(["lr=log(1e-5,1e-1)"])
ENDED = (StudyStatus.COMPLETED, "")


@dataclass
class Hands:
    """An executor that does everything in memory, one event at a time, each worker in turn.

    curve: a trial's accuracy in each epoch, by number; the last is what it comes to.  lost: how often a trial takes its
    worker with it.  stay: trials that are under way until they are interrupted.
    """

    slots: int = 1
    curve: Callable[[int], Sequence[float]] = lambda number: (0.1, 0.2, number / 100)
    lost: dict[int, int] = field(default_factory=dict)
    stay: set[int] = field(default_factory=set)
    fails: dict[int, str] = field(default_factory=dict)
    tells: bool = True  # its last word arrives; else the outcome is on disk and the worker is gone
    given: list[Assignment] = field(default_factory=list)
    answers: dict[tuple[int, int], str] = field(default_factory=dict)
    interrupted: bool = False
    _busy: dict[int, Iterator[ExecutorEvent]] = field(default_factory=dict)
    _turn: int = 0

    def start(self, assignment: Assignment) -> None:
        worker = min(set(range(self.slots)) - set(self._busy))
        self.given.append(assignment)
        self._busy[worker] = self._course(assignment, worker)

    def answer(self, number: int, epoch: int, stop: str) -> None:
        self.answers[number, epoch] = stop

    def interrupt(self) -> None:
        self.interrupted = True

    def events(self, seconds: float) -> list[ExecutorEvent]:
        assert self._busy, "the study waits for nobody"
        workers = sorted(self._busy)
        worker = workers[self._turn % len(workers)]
        self._turn += 1
        event = next(self._busy[worker], None)
        if isinstance(event, AssignmentDone | WorkerLost):
            del self._busy[worker]
        return [event] if event is not None else []

    def close(self) -> None:
        self._busy.clear()

    def _course(self, assignment: Assignment, worker: int) -> Iterator[ExecutorEvent]:
        yield AssignmentStarted(worker=worker, key=assignment.key)
        outcomes: list[TrialResult] = []
        for task in assignment.tasks:
            if self.lost.get(task.number, 0):
                self.lost[task.number] -= 1
                yield WorkerLost(
                    worker=worker, key=assignment.key, why="its worker was ended by SIGKILL", log="out of memory"
                )
                return
            outcome = yield from self._tried(task, worker, assignment.told)
            if outcome is None:
                break
            TrialFolder(Path(task.folder)).conclude(outcome)
            outcomes.append(outcome)
        if self.tells:
            yield AssignmentDone(worker=worker, key=assignment.key, outcomes=tuple(outcomes))
        else:
            yield WorkerLost(worker=worker, key=assignment.key, why="its worker was ended by SIGKILL")

    def _tried(self, task: TrialTask, worker: int, told: bool) -> Any:
        number, curve = task.number, dict[int, dict[str, float]]()
        if number in self.fails:
            return TrialResult(number=number, state=TrialState.FAILED, reason=self.fails[number])
        for epoch, value in enumerate(self.curve(number), start=1):
            curve[epoch] = {"accuracy": value}
            yield EpochDone(worker=worker, number=number, epoch=epoch, scores=curve[epoch])
            while number in self.stay and not self.interrupted:
                yield None
            if self.interrupted:
                return None
            if told and (stop := self.answers.pop((number, epoch))):
                return TrialResult(number=number, state=TrialState.PRUNED, reason=stop, curve=curve)
        return TrialResult(number=number, state=TrialState.COMPLETE, values=(value,), curve=curve, seconds=2.0)


@dataclass
class Notes:
    """An observer that writes down what it is told."""

    said: list[tuple[Any, ...]] = field(default_factory=list)

    def on_begin(self, study: Study, trials: Sequence[Trial]) -> None: ...

    def on_trial(self, trial: Trial) -> None:
        self.said.append(("trial", trial.number, trial.worker))

    def on_epoch(self, trial: Trial, epoch: int, value: float) -> None:
        self.said.append(("epoch", trial.number, epoch, value))

    def on_result(self, trial: Trial) -> None:
        self.said.append(("result", trial.number, trial.state.value))

    def on_trouble(self, sentence: str) -> None:
        self.said.append(("trouble", sentence))

    def on_end(self, status: StudyStatus, reason: str) -> None: ...


class Led:
    """A study with all that leads it."""

    def __init__(
        self,
        study: Study,
        hands: Hands,
        *,
        searcher: Searcher,
        pruner: str = "none",
        stack: int = 1,
        digest: Callable[[Trial], str] = lambda trial: json.dumps(trial.params),
        wrong: Callable[[Trial], bool] = lambda trial: False,
        halt: Callable[[], str] = lambda: "",
    ) -> None:
        self.ledger = TrialStore(study, searcher, pruner, 10)
        self.study, self.hands, self.notes = study, hands, Notes()
        self._digest, self._wrong, self._stack = digest, wrong, stack
        self.conductor = StudyRunner(
            study=study,
            ledger=self.ledger,
            executor=hands,
            make=self._make,
            together=self._together,
            ahead=stack,
            observers=[self.notes],
            halt=halt,
        )

    def run(self) -> tuple[StudyStatus, str]:
        return self.conductor.run()

    def trials(self) -> list[Trial]:
        return self.ledger.trials()

    def states(self) -> list[str]:
        return [trial.state.value for trial in self.trials()]

    def given(self) -> list[list[int]]:
        """The numbers of the trials in each assignment, in order."""
        return [[task.number for task in one.tasks] for one in self.hands.given]

    def _make(self, trial: Trial) -> PreparedTrial:
        if self._wrong(trial):
            raise BadValue("--freeze layer9", "there is no such stage")
        task = TrialTask(number=trial.number, folder=str(self.study.folder(trial.number)), recipe=dict(trial.params))
        return PreparedTrial(task=task, epochs=3, digest=self._digest(trial))

    def _together(self, tasks: Sequence[TrialTask]) -> list[tuple[TrialTask, ...]]:
        return [tuple(tasks[at : at + self._stack]) for at in range(0, len(tasks), self._stack)]


@contextmanager
def led(
    path: Path,
    hands: Hands | None = None,
    *,
    space: Space = SPACE,
    searcher: Searcher | None = None,
    plan: Mapping[str, Any] | None = None,
    **ways: Any,
) -> Iterator[Led]:
    """A new study of five trials, or the one that is there."""
    if Study.is_one(path):
        study = Study.open(path)
    else:
        asked = {"data": "/d", "space": space, "objectives": (ACCURACY,), "trials": 5, **(plan or {})}
        study = Study.begin(path, StudyPlan(**asked), Recipe())
    made = Led(study, hands or Hands(), searcher=searcher or Random(), **ways)
    try:
        yield made
    finally:
        made.ledger.close()
