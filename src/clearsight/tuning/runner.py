"""Conductor: leads a study from the first proposal to the last outcome.

It knows a ledger that proposes and records, an executor that carries out, and two callables from above: what a trial's
recipe is, and which trials are trained together. It knows no network and no data.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from clearsight.core.errors import ClearsightError
from clearsight.core.executor import (
    Assignment,
    AssignmentDone,
    AssignmentStarted,
    EpochDone,
    Executor,
    ExecutorEvent,
    TrialTask,
    WorkerLost,
)
from clearsight.core.study import Study, StudyObserver, StudyStatus
from clearsight.core.trial import Trial, TrialResult, TrialState
from clearsight.tuning.retention import WeightRetention
from clearsight.tuning.stopping import all_failed_alike, study_stop_reason
from clearsight.tuning.trial_store import TrialStore

_RETRIES = 2  # of a trial whose worker died
_LOOK = 0.5  # seconds between looks at the clock and at Ctrl-C


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTrial:
    """What a point comes to: the task of its trial, the epochs that it asks for, and a digest of all that decides the
    result; equal digests are the same work."""

    task: TrialTask
    epochs: int
    digest: str


@dataclass(kw_only=True, eq=False)
class StudyRunner:
    """One study under way.

    make: the task of a trial; raises ClearsightError where its recipe cannot be.  together: sorts tasks into those that
    are trained at once.  ahead: how many trials are proposed at a time.  halt: why to stop now, resumable, or "".
    """

    study: Study
    ledger: TrialStore
    executor: Executor
    make: Callable[[Trial], PreparedTrial]
    together: Callable[[Sequence[TrialTask]], list[tuple[TrialTask, ...]]]
    ahead: int
    observers: Sequence[StudyObserver]
    halt: Callable[[], str]
    _waiting: deque[tuple[TrialTask, ...]] = field(default_factory=deque)
    _under_way: dict[int, Assignment] = field(default_factory=dict)
    _made: dict[int, PreparedTrial] = field(default_factory=dict)
    _first: dict[str, int] = field(default_factory=dict)  # digest -> the trial that does the work
    _followers: dict[int, list[int]] = field(default_factory=dict)
    _attempts: dict[int, int] = field(default_factory=dict)
    _over: set[int] = field(default_factory=set)  # trials that had failed before
    _exhausted: bool = False
    _keys: int = 0

    def run(self) -> tuple[StudyStatus, str]:
        """Lead the study to its end, or to what stops it; returns how it ended and why."""
        self._clock = time.monotonic()
        self._shelf = WeightRetention(self.study, self.ledger)
        self._take_up()
        while True:
            if reason := self.halt():
                self._leave_off()
                return StudyStatus.INTERRUPTED, reason
            if reason := study_stop_reason(self.study.plan, self.ledger.trials(), self._seconds()):
                return self._end_early(reason)
            if reason := all_failed_alike([one for one in self.ledger.trials() if one.number not in self._over]):
                self._leave_off()
                return StudyStatus.FAILED, f"every trial failed: {reason}"
            if not self._fill():
                return StudyStatus.COMPLETED, ""
            for event in self.executor.events(_LOOK) if self._under_way else ():
                self._hear(event)

    def carry_out(self, assignment_of: Callable[[int], Assignment]) -> str:
        """Carry out one more assignment, such as the delivery of the best trial; returns why it failed, or ""."""
        why = ""
        for _ in range(1 + _RETRIES):
            self._keys += 1
            self.executor.start(assignment_of(self._keys))
            end = self._end_of(self._keys)
            if isinstance(end, AssignmentDone):
                return end.outcomes[0].reason if end.outcomes else ""
            why = f"{end.why}; it last said: {end.log}"
        return why

    # --- what is done next --------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Begin with what an earlier process left under way."""
        running = self.ledger.take_up()
        # Why trials failed then may have been put right since: what is judged are those of this process.
        self._over = {trial.number for trial in self.ledger.trials() if trial.state is TrialState.FAILED}
        for trial in self.ledger.trials():
            if trial.own and trial.state is TrialState.COMPLETE and trial.same_as is None:
                self._remember(trial)
        own = sum(trial.own for trial in self.ledger.trials())
        further = self._proposed(min(-own % self.ahead, self.study.plan.trials - own)) if running else []
        self._accept([*running, *further])  # as they would have been taken up if nothing had come between

    def _remember(self, trial: Trial) -> None:
        try:
            made = self.make(trial)
        except ClearsightError:
            return  # it could be made once; what has changed since concerns new trials alone
        self._first.setdefault(made.digest, trial.number)

    def _fill(self) -> bool:
        """Give free workers something to do; False where there is nothing left."""
        while len(self._under_way) < self.executor.slots:
            if not self._waiting and not self._propose():
                return bool(self._under_way)
            if not self._waiting:
                return True  # what was proposed failed or was answered at once: perhaps that is enough
            self._start(self._waiting.popleft())
        return True

    def _propose(self) -> bool:
        """Ask for further trials; False where there are none to be had."""
        own = sum(trial.own for trial in self.ledger.trials())
        proposed = self._proposed(min(self.ahead, self.study.plan.trials - own))
        self._accept(proposed)
        return bool(proposed)

    def _proposed(self, wanted: int) -> list[Trial]:
        proposed: list[Trial] = []
        while len(proposed) < wanted and not self._exhausted:
            trial = self.ledger.propose()
            if trial is None:
                self._exhausted = True
            else:
                proposed.append(trial)
        return proposed

    def _accept(self, trials: Sequence[Trial]) -> None:
        """Put trials where they belong: into the queue, behind one that does the same, or among the failed."""
        tasks: list[TrialTask] = []
        for trial in trials:
            try:
                made = self.make(trial)
            except ClearsightError as error:
                self._conclude(TrialResult(number=trial.number, state=TrialState.FAILED, reason=str(error)))
                continue
            self._made[trial.number], self._attempts[trial.number] = made, trial.attempts
            first = self._first.setdefault(made.digest, trial.number)
            if first == trial.number:
                tasks.append(made.task)
            elif self.ledger.trial(first).state is TrialState.RUNNING:
                self._followers.setdefault(first, []).append(trial.number)
            else:
                self._answer_from(trial.number, self.ledger.trial(first))
        self._waiting.extend(self.together(tasks))

    def _start(self, tasks: tuple[TrialTask, ...]) -> None:
        self._keys += 1
        assignment = Assignment(
            key=self._keys,
            tasks=tasks,
            data=self.study.plan.data,
            metrics=tuple(objective.metric for objective in self.study.plan.objectives),
            told=self.ledger.prunes,
        )
        self._under_way[assignment.key] = assignment
        self.executor.start(assignment)

    # --- what is heard ------------------------------------------------------------------------------------------------

    def _hear(self, event: ExecutorEvent) -> None:
        match event:
            case AssignmentStarted():
                for task in self._under_way[event.key].tasks:
                    self._begun(task.number, event.worker)
            case EpochDone():
                self._epoch(event)
            case AssignmentDone():
                assignment = self._under_way.pop(event.key)
                for outcome in event.outcomes:
                    self._conclude(outcome)
                over = {outcome.number for outcome in event.outcomes}
                if (left := tuple(task for task in assignment.tasks if task.number not in over)) and not self.halt():
                    self._waiting.appendleft(left)
            case WorkerLost():
                self._lost(event, self._under_way.pop(event.key))

    def _begun(self, number: int, worker: int) -> None:
        self.ledger.note(number, worker=worker, planned=self._made[number].epochs, started=time.time())
        for observer in self.observers:
            observer.on_trial(self.ledger.trial(number))

    def _epoch(self, event: EpochDone) -> None:
        value = event.scores.get(self.study.aim.metric, math.nan)
        stop = self.ledger.epoch(event.number, event.epoch, value)
        if self.ledger.prunes:
            self.executor.answer(event.number, event.epoch, stop)
        for observer in self.observers:
            observer.on_epoch(self.ledger.trial(event.number), event.epoch, value)

    def _lost(self, event: WorkerLost, assignment: Assignment) -> None:
        """A worker died. What it had is tried again, alone, since nobody knows which of several it was."""
        for task in reversed(assignment.tasks):
            outcome = self.ledger.folder(task.number).outcome()
            if outcome is not None:
                self._conclude(outcome)  # it was through, and only the word did not reach us
                continue
            attempts = self._attempts[task.number]
            if attempts > _RETRIES:
                reason = f"{event.why}, {attempts} times" + (f"; it last said: {event.log}" if event.log else "")
                self._conclude(TrialResult(number=task.number, state=TrialState.FAILED, reason=reason))
            else:
                self._attempts[task.number] = attempts + 1
                self.ledger.folder(task.number).propose(self.ledger.trial(task.number).params, attempts + 1)
                self._waiting.appendleft((task,))
                self._trouble(f"trial {task.number}: {event.why}; it is tried again")

    def _conclude(self, outcome: TrialResult) -> None:
        number = outcome.number
        facts = {"attempts": a} if (a := self._attempts.get(number, 1)) > 1 else {}
        trial = self.ledger.finish(outcome, **facts)
        for observer in self.observers:
            observer.on_result(trial)
        self._shelf.sort()
        for follower in self._followers.pop(number, []):
            self._answer_from(follower, trial)

    def _answer_from(self, number: int, first: Trial) -> None:
        """A trial asks what another has answered."""
        kept = self.ledger.folder(first.number).outcome()
        if kept is None:
            kept = TrialResult(number=first.number, state=first.state, values=first.values, reason=first.reason)
        self.ledger.folder(number).conclude(answer := replace(kept, number=number, seconds=0.0, spared_seconds=0.0))
        self.ledger.note(number, planned=self._made[number].epochs)
        trial = self.ledger.finish(answer, same_as=first.number)
        for observer in self.observers:
            observer.on_result(trial)

    def _trouble(self, sentence: str) -> None:
        for observer in self.observers:
            observer.on_trouble(sentence)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self.study.seconds + time.monotonic() - self._clock

    def _leave_off(self) -> None:
        """Let every trial under way come to a checkpoint."""
        if self._under_way:
            self.executor.interrupt()
        while self._under_way:
            for event in self.executor.events(_LOOK):
                if isinstance(event, WorkerLost):
                    self._under_way.pop(event.key)
                else:
                    self._hear(event)
        self._waiting.clear()

    def _end_early(self, reason: str) -> tuple[StudyStatus, str]:
        """Enough. Trials under way are over too, but where it was for the time: then they can be gone on with."""
        self._leave_off()
        if not reason.startswith("the time limit"):
            for trial in self.ledger.trials():
                still = self.ledger.trial(trial.number).state is TrialState.RUNNING  # one may have answered for another
                if still and trial.number in self._made:
                    cut = TrialResult(
                        number=trial.number, state=TrialState.PRUNED, reason=f"the study ended first: {reason}"
                    )
                    self.ledger.folder(trial.number).conclude(cut)
                    self._conclude(replace(cut, started=trial.started))
        return StudyStatus.STOPPED_EARLY, reason

    def _end_of(self, key: int) -> AssignmentDone | WorkerLost:
        while True:
            for event in self.executor.events(_LOOK):
                if isinstance(event, AssignmentDone | WorkerLost) and event.key == key:
                    return event
