"""StudyRunner: runs a study from its first proposal to its last result.

It works with a store that proposes trials and records results, an executor that runs them, and two functions of the
caller: one prepares a trial, the other one groups trials that train together. It knows no network and no data.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
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
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study, StudyObserver, StudyPlan, StudyStatus
from clearsight.core.trial import Trial, TrialResult, TrialState, best_trial, complete_trials
from clearsight.tuning.trial_queue import PreparedTrial, TrialQueue
from clearsight.tuning.trial_store import TrialStore

_RETRIES = 2  # of a trial whose worker died
_POLL = 0.5  # seconds between checks of the time limit and of Ctrl-C


@dataclass(kw_only=True, eq=False)
class StudyRunner:
    """A study in progress.

    prepare: returns the task of a trial; raises ClearsightError if the values make no recipe.
    group: sorts tasks into groups that train together in one worker.
    batch: number of trials that are proposed at a time.
    halt: returns why to stop now, leaving the trials resumable; None to continue.
    """

    study: Study
    store: TrialStore
    executor: Executor
    prepare: Callable[[Trial], PreparedTrial]
    group: Callable[[Sequence[TrialTask]], list[tuple[TrialTask, ...]]]
    batch: int
    observers: Sequence[StudyObserver]
    halt: Callable[[], StopReason | None]
    _queue: TrialQueue = field(default_factory=TrialQueue)
    _failed_before: set[int] = field(default_factory=set)  # trials that failed in an earlier process
    _exhausted: bool = False  # the searcher has nothing left to propose

    def run(self) -> tuple[StudyStatus, StopReason | None]:
        """Run the study to its end, or until something stops it; returns how it ended and why."""
        self._start_time = time.monotonic()  # here and not at construction: the plan limits the time of work
        self._recover()
        while True:
            # Ctrl-C before limits: a study that the user stopped must stay resumable whatever it has reached.
            if stop := self.halt():
                self._drain()
                return StudyStatus.INTERRUPTED, stop
            if stop := study_stop_reason(self.study.plan, self.store.trials(), self._seconds()):
                return self._end_early(stop)
            trials = [trial for trial in self.store.trials() if trial.number not in self._failed_before]
            if reason := common_failure(trials):
                self._drain()
                return StudyStatus.FAILED, StopReason(StopKind.ALL_FAILED, f"every trial failed: {reason}")
            if not self._fill():
                return self._end()
            for event in self.executor.events(_POLL) if self._queue.running else ():
                self._handle(event)

    def run_assignment(self, assignment_of: Callable[[int], Assignment]) -> str:
        """Run one more assignment, such as the delivery of the best trial; returns why it failed, or "".

        assignment_of: returns the assignment with the given key; each attempt has a key of its own.
        """
        reason = ""
        for _ in range(1 + _RETRIES):
            key = self._queue.new_key()
            self.executor.start(assignment_of(key))
            end = self._wait_for_end(key)
            if isinstance(end, AssignmentDone):
                return end.results[0].reason if end.results else ""
            reason = _with_log(end.reason, end)
        return reason

    # --- proposals and assignments ------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Continue where an earlier process stopped."""
        running = self.store.recover()
        # The cause of earlier failures may have been removed since: only failures of this process end the study.
        self._failed_before = {trial.number for trial in self.store.trials() if trial.state is TrialState.FAILED}
        for trial in self.store.trials():
            if trial.state is TrialState.COMPLETE and not trial.imported and trial.same_as is None:
                # A recipe that was valid once may no longer be; that matters for new trials alone.
                with contextlib.suppress(ClearsightError):
                    self._queue.originals.setdefault(self.prepare(trial).digest, trial.number)
        # The rest of an interrupted batch is proposed at once, so that the batches are those of an undisturbed study.
        proposed = self._proposed_count()
        rest = self._propose(min(-proposed % self.batch, self.study.plan.trials - proposed)) if running else []
        self._accept([*running, *rest])

    def _proposed_count(self) -> int:
        return sum(not trial.imported for trial in self.store.trials())

    def _fill(self) -> bool:
        """Give work to the free workers; returns False once nothing runs and nothing is left to run."""
        while len(self._queue.running) < self.executor.slots:
            if not self._queue.waiting:
                trials = self._propose(min(self.batch, self.study.plan.trials - self._proposed_count()))
                if not trials:
                    return bool(self._queue.running)
                self._accept(trials)
            if not self._queue.waiting:
                return True  # every proposal failed or was a duplicate: the study may have reached a limit by them
            plan = self.study.plan
            metrics = tuple(objective.metric for objective in plan.objectives)
            self.executor.start(self._queue.start_next(plan.data, metrics, prunable=self.store.prunes))
        return True

    def _propose(self, count: int) -> list[Trial]:
        trials: list[Trial] = []
        while len(trials) < count and not self._exhausted:
            trial = self.store.propose()
            if trial is None:
                self._exhausted = True
            else:
                trials.append(trial)
        return trials

    def _accept(self, trials: Sequence[Trial]) -> None:
        """Queue trials; a trial without a valid recipe fails, and a duplicate takes the result of its original."""
        tasks: list[TrialTask] = []
        for trial in trials:
            try:
                prepared = self.prepare(trial)
            except ClearsightError as error:
                self._finish(TrialResult.failed(trial.number, error))
                continue
            original = self._queue.register(trial.number, prepared, trial.attempts)
            if original == trial.number:
                tasks.append(prepared.task)
            elif self.store.trial(original).state is TrialState.RUNNING:
                self._queue.duplicates[original].append(trial.number)
            else:
                self._copy_result(trial.number, self.store.trial(original))
        self._queue.waiting.extend(self.group(tasks))

    # --- events -------------------------------------------------------------------------------------------------------

    def _handle(self, event: ExecutorEvent) -> None:
        match event:
            case AssignmentStarted():
                for task in self._queue.running[event.key].tasks:
                    self._handle_start(task.number, event.worker)
            case EpochDone():
                self._handle_epoch(event)
            case AssignmentDone():
                assignment = self._queue.running.pop(event.key)
                for result in event.results:
                    self._finish(result)
                finished = {result.number for result in event.results}
                rest = tuple(task for task in assignment.tasks if task.number not in finished)
                # Without a result and without an interruption the worker has stopped early: the rest runs again.
                if rest and self.halt() is None:
                    self._queue.waiting.appendleft(rest)
            case WorkerLost():
                self._handle_loss(event, self._queue.running.pop(event.key))

    def _handle_start(self, number: int, worker: int) -> None:
        self.store.update(number, worker=worker, planned=self._queue.prepared[number].epochs, started=time.time())
        for observer in self.observers:
            observer.on_trial(self.store.trial(number))

    def _handle_epoch(self, event: EpochDone) -> None:
        value = event.scores.get(self.study.objective.metric, math.nan)
        stop = self.store.report_epoch(event.number, event.epoch, value)
        if self.store.prunes:
            self.executor.reply(event.number, event.epoch, stop)
        for observer in self.observers:
            observer.on_epoch(self.store.trial(event.number), event.epoch, value)

    def _handle_loss(self, event: WorkerLost, assignment: Assignment) -> None:
        """Queue the trials of a dead worker again, each alone, because nobody knows which of them killed it."""
        for task in reversed(assignment.tasks):  # each goes to the front of the queue: the first trial ends up first
            number = task.number
            result = self.store.folder(number).result()
            if result is not None:
                self._finish(result)  # it ended before its worker died, and only the message was lost
                continue
            if (attempts := self._queue.attempts[number]) > _RETRIES:
                self._finish(TrialResult.failed(number, _with_log(f"{event.reason}, in {attempts} attempts", event)))
                continue
            self._queue.attempts[number] += 1
            self.store.folder(number).write_proposal(self.store.trial(number).params, attempts + 1)
            self._queue.waiting.appendleft((task,))  # it was proposed before everything that waits
            for observer in self.observers:
                observer.on_trouble(f"trial {number}: {event.reason}; it is tried again")

    def _finish(self, result: TrialResult) -> None:
        attempts = self._queue.attempts[result.number]
        trial = self.store.finish(result, **({"attempts": attempts} if attempts > 1 else {}))
        for observer in self.observers:
            observer.on_result(trial)
        self.store.delete_weights()  # before duplicates: they have no weights that could be kept or deleted
        for duplicate in self._queue.duplicates.pop(trial.number, []):
            self._copy_result(duplicate, trial)

    def _copy_result(self, number: int, original: Trial) -> None:
        """Give a duplicate the result of its original, which has cost no time of its own."""
        result = self.store.folder(original.number).result()
        if result is None:  # the original failed before it ran, so no worker has written a result
            facts = {name: getattr(original, name) for name in ("number", "state", "values", "reason", "stop_kind")}
            result = TrialResult(**facts)
        result = replace(result, number=number, seconds=0.0, saved_seconds=0.0)
        self.store.folder(number).write_result(result)
        self.store.update(number, planned=self._queue.prepared[number].epochs)
        trial = self.store.finish(result, same_as=original.number)
        for observer in self.observers:
            observer.on_result(trial)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return self.study.seconds + time.monotonic() - self._start_time

    def _drain(self) -> None:
        """Interrupt every running trial and wait until each has written its checkpoint."""
        if self._queue.running:
            self.executor.interrupt()
        while self._queue.running:
            for event in self.executor.events(_POLL):
                if isinstance(event, WorkerLost):
                    del self._queue.running[event.key]  # its trials stay resumable from their last checkpoints
                else:
                    self._handle(event)
        self._queue.waiting.clear()

    def _end_early(self, stop: StopReason) -> tuple[StudyStatus, StopReason | None]:
        """End the study and its running trials; at the time limit the trials stay resumable."""
        self._drain()
        if stop.kind is not StopKind.TIME_LIMIT:
            for trial in self.store.trials():
                # Read again: a trial before this one may have been its original and have ended it.
                running = self.store.trial(trial.number).state is TrialState.RUNNING
                if running and trial.number in self._queue.prepared:
                    result = TrialResult(
                        number=trial.number,
                        state=TrialState.PRUNED,
                        reason=f"the study ended first: {stop.text}",
                        stop_kind=StopKind.STUDY_ENDED,
                    )
                    self.store.folder(trial.number).write_result(result)
                    self._finish(replace(result, started=trial.started))
        return self._end(stop)

    def _end(self, stop: StopReason | None = None) -> tuple[StudyStatus, StopReason | None]:
        """Return how the study ended. stop: the limit that it has reached."""
        if reason := failure_of_all(self.store.trials()):
            return StudyStatus.FAILED, StopReason(StopKind.ALL_FAILED, reason)
        return (StudyStatus.COMPLETED if stop is None else StudyStatus.STOPPED_EARLY), stop

    def _wait_for_end(self, key: int) -> AssignmentDone | WorkerLost:
        while True:
            for event in self.executor.events(_POLL):
                if isinstance(event, AssignmentDone | WorkerLost) and event.key == key:
                    return event


def _with_log(reason: str, event: WorkerLost) -> str:
    return f"{reason}; end of its log: {event.log}" if event.log else reason


def study_stop_reason(plan: StudyPlan, trials: Sequence[Trial], seconds: float) -> StopReason | None:
    """Return the limit of the plan that the study has reached; None to continue.

    seconds: of work so far. Trials of earlier studies do not count.
    """
    trials = [trial for trial in trials if not trial.imported]
    objective = plan.objectives[0]
    best = best_trial(trials, objective)
    # Time comes first: it is the one limit that leaves running trials resumable.
    if plan.time_limit is not None and seconds >= plan.time_limit:
        return StopReason(StopKind.TIME_LIMIT, f"the time limit of {plan.time_limit:g} s was reached")
    if plan.epoch_budget is not None and (epochs := sum(trial.epochs for trial in trials)) >= plan.epoch_budget:
        text = f"the budget of {plan.epoch_budget} epochs is used up ({epochs} were trained)"
        return StopReason(StopKind.EPOCH_BUDGET, text)
    if best is not None and plan.target is not None and not objective.better(plan.target, best.values[0]):
        text = f"trial {best.number} reached the target of {plan.target:g} ({best.values[0]:.4g})"
        return StopReason(StopKind.TARGET, text)
    if best is not None and plan.stop_after is not None:
        # An equal value is no improvement, even with a lower loss: the first of them counts. A pruned or failed trial
        # counts as one without improvement.
        first = min(trial.number for trial in complete_trials(trials) if trial.values[0] == best.values[0])
        later = [trial for trial in trials if trial.number > first and trial.state is not TrialState.RUNNING]
        if len(later) >= plan.stop_after:
            text = f"{len(later)} trials in a row were no better than trial {first}"
            return StopReason(StopKind.NO_IMPROVEMENT, text)
    return None


def failure_of_all(trials: Sequence[Trial]) -> str:
    """Return a sentence with the most frequent reason if every trial of this study has failed; else ""."""
    reasons = Counter(trial.reason for trial in trials if not trial.imported and trial.state is TrialState.FAILED)
    if not reasons or any(not trial.imported and trial.state is not TrialState.FAILED for trial in trials):
        return ""
    [(reason, count)], total = reasons.most_common(1), reasons.total()
    share = "" if count == total else f" ({count} of {total} for this reason)"
    return f"every trial failed{share}: {reason}"


def common_failure(trials: Sequence[Trial]) -> str:
    """Return the reason for which every ended trial has failed, if there are at least three; else ""."""
    ended = [trial for trial in trials if not trial.imported and trial.state is not TrialState.RUNNING]
    if len(ended) < 3 or any(trial.state is not TrialState.FAILED for trial in ended):
        return ""
    reasons = {trial.reason for trial in ended}
    return reasons.pop() if len(reasons) == 1 else ""
