"""Contract of executors. A third party subclasses `ExecutorContract` in its own tests:

class TestMine(ExecutorContract):
    build = staticmethod(my_executor)      # the function that the registry names: ExecutorSpec -> Executor
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from clearsight.core.executor import (
    Assignment,
    AssignmentDone,
    AssignmentStarted,
    EpochDone,
    Executor,
    ExecutorEvent,
    ExecutorSpec,
    TrialTask,
    WorkerLost,
)
from clearsight.core.trial import TrialResult, TrialState

_PATIENCE = 60.0  # seconds; a cluster needs many of them to start

E = TypeVar("E", bound=ExecutorEvent)


class ExecutorContract:
    """Subclass it as Test... and set `build`. Workers are stand-ins (clearsight.testing.stand_in)."""

    build: Callable[[ExecutorSpec], Executor]

    @pytest.fixture
    def spec(self, tmp_path: Path) -> ExecutorSpec:
        return stand_in_spec(tmp_path / "logs", slots=2)  # two: assignments must run side by side

    @pytest.fixture
    def executor(self, spec: ExecutorSpec) -> Iterator[Executor]:
        executor = self.build(spec)
        yield executor
        executor.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Folder of the trials' folders."""
        return tmp_path / "trials"

    def test_has_the_slots_that_were_asked_for(self, executor: Executor) -> None:
        assert executor.slots == 2

    def test_reports_a_trial_from_start_to_end(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(7, [task(folder, 3, epochs=2, accuracy=[0.5, 0.75])]))
        started, *epochs, done = collect(executor, has_ended(7))
        # Any worker may take it: the executor decides.
        assert started == AssignmentStarted(worker=started.worker, key=7)
        assert epochs == [
            EpochDone(worker=started.worker, number=3, epoch=1, scores={"accuracy": 0.5}),
            EpochDone(worker=started.worker, number=3, epoch=2, scores={"accuracy": 0.75}),
        ]
        result = TrialResult(
            number=3,
            state=TrialState.COMPLETE,
            values=(0.75,),
            curve={1: {"accuracy": 0.5}, 2: {"accuracy": 0.75}},
            scores={"accuracy": 0.75},
            seconds=1.5,
        )
        assert done == AssignmentDone(worker=started.worker, key=7, results=(result,))

    def test_several_trials_of_one_assignment_come_back_together(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, number) for number in (4, 5, 6)]))
        assert [result.number for result in ended(executor, 1).results] == [4, 5, 6]

    def test_a_failed_trial_is_a_result_and_no_loss(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, fails="no such layer"), task(folder, 1)]))
        failed, complete = ended(executor, 1).results
        assert (failed.state, failed.reason) == (TrialState.FAILED, "no such layer")
        assert complete.state is TrialState.COMPLETE

    def test_nan_arrives_as_nan(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, accuracy=None)]))  # None is NaN: JSON has none
        events = collect(executor, has_ended(1))
        assert math.isnan(only(EpochDone, events).scores["accuracy"])
        (result,) = only(AssignmentDone, events).results
        assert math.isnan(result.values[0])
        assert math.isnan(result.curve[1]["accuracy"])

    def test_a_worker_receives_its_share_of_the_machine(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, epochs=1)], prunable=True))  # waits for a reply: holds its worker
        executor.start(assignment(2, [task(folder, 1, epochs=1)], prunable=True))
        epochs = all_of(EpochDone, collect(executor, has(EpochDone, 2)))
        assert len({event.worker for event in epochs}) == 2
        for event in epochs:
            assert worker_facts(folder, event.number)["resources"] == {"slot": event.worker}

    def test_assignments_run_at_the_same_time(self, executor: Executor, folder: Path) -> None:
        for key in (1, 2):
            executor.start(assignment(key, [task(folder, key)], prunable=True))
        both = all_of(EpochDone, collect(executor, has(EpochDone, 2)))
        assert {event.number for event in both} == {1, 2}  # and neither has ended, since neither had a reply
        for number in (1, 2):
            executor.reply(number, 1, "")
        collect(executor, has(AssignmentDone, 2))

    def test_a_worker_runs_one_assignment_after_another(self, executor: Executor, folder: Path) -> None:
        for key in range(1, 6):  # more assignments than workers: workers are used again
            executor.start(assignment(key, [task(folder, key)]))
            assert ended(executor, key).results[0].number == key

    def test_a_reply_can_end_a_trial(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, epochs=9), task(folder, 1)], prunable=True))
        for epoch, stop in ((1, ""), (2, ""), (3, "worse than the others")):
            assert only(EpochDone, collect(executor, has(EpochDone))).epoch == epoch
            executor.reply(0, epoch, stop)
        assert only(EpochDone, collect(executor, has(EpochDone))).number == 1
        executor.reply(1, 1, "")
        pruned, complete = ended(executor, 1).results
        assert (pruned.state, pruned.reason) == (TrialState.PRUNED, "worse than the others")
        assert list(pruned.curve) == [1, 2, 3]
        assert complete.state is TrialState.COMPLETE

    def test_a_worker_that_dies_costs_its_assignment(self, executor: Executor, folder: Path) -> None:
        # By SIGKILL, as the kernel does without memory.
        executor.start(assignment(1, [task(folder, 0, epochs=3, die_at=2)]))
        events = collect(executor, has_ended(1))
        lost = only(WorkerLost, events)
        assert [event.epoch for event in all_of(EpochDone, events)] == [1]
        assert lost.key == 1
        assert lost.reason
        assert "\n" not in lost.reason  # it stands in a line of the log

    def test_the_death_of_a_worker_costs_nothing_else(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 1)], prunable=True))
        collect(executor, has(EpochDone))
        executor.start(assignment(2, [task(folder, 2, die_at=1)]))
        assert only(WorkerLost, collect(executor, has(WorkerLost))).key == 2
        executor.start(assignment(3, [task(folder, 3)]))
        assert ended(executor, 3).results[0].number == 3
        executor.reply(1, 1, "")
        assert ended(executor, 1).results[0].number == 1

    @pytest.mark.parametrize("prunable", [True, False])
    def test_interrupted_trials_have_no_result(self, executor: Executor, folder: Path, prunable: bool) -> None:
        """Trials that ended before have theirs, and an interrupted worker can run further assignments."""
        waiting = task(folder, 1, epochs=5, waits=True)  # 0 has ended, 1 is under way, 2 has not begun
        executor.start(assignment(1, [task(folder, 0, fails="early"), waiting, task(folder, 2)], prunable=prunable))
        assert only(EpochDone, collect(executor, has(EpochDone))).number == 1
        executor.interrupt()
        assert [result.number for result in ended(executor, 1).results] == [0]
        executor.start(assignment(2, [task(folder, 3)]))
        assert [result.number for result in ended(executor, 2).results] == [3]

    def test_an_interrupt_without_work_has_no_effect(self, executor: Executor) -> None:
        executor.interrupt()
        assert executor.events(0) == []

    def test_events_can_be_read_without_waiting(self, executor: Executor, folder: Path) -> None:
        assert executor.events(0) == []
        executor.start(assignment(1, [task(folder, 0, waits=True)]))
        collect(executor, has(EpochDone))
        start = time.monotonic()
        assert executor.events(0) == []
        assert time.monotonic() - start < 1  # generous: a cluster answers over the network

    def test_no_worker_survives_close(self, spec: ExecutorSpec, folder: Path) -> None:
        executor = self.build(spec)
        for number in (0, 1):
            executor.start(assignment(number, [task(folder, number, waits=True)]))
        collect(executor, has(EpochDone, 2))
        workers = [process(worker_facts(folder, number)["pid"]) for number in (0, 1)]
        executor.close()
        # Children may need a moment to be gone.
        _, alive = psutil.wait_procs([worker for worker in workers if worker is not None], timeout=_PATIENCE)
        assert alive == []


def stand_in_spec(logs: Path, slots: int = 1) -> ExecutorSpec:
    """Return the spec of an executor whose workers are stand-ins."""
    return ExecutorSpec(
        slots=slots,
        command=(sys.executable, "-m", "clearsight.testing.stand_in"),
        runner="clearsight.testing.stand_in:StandIn",
        resources=lambda slot: {"slot": slot},
        logs=logs,
    )


def task(folder: Path, number: int, **recipe: Any) -> TrialTask:
    """Return a task whose recipe tells a stand-in what to do."""
    return TrialTask(number=number, folder=str(folder / str(number)), recipe=recipe)


def assignment(key: int, tasks: Sequence[TrialTask], *, prunable: bool = False) -> Assignment:
    """Return an assignment of trials to one worker."""
    # A stand-in reads no data.
    return Assignment(key=key, tasks=tuple(tasks), data="/no/data", metrics=("accuracy",), prunable=prunable)


def collect(executor: Executor, enough: Callable[[list[ExecutorEvent]], bool]) -> list[ExecutorEvent]:
    """Return all events until there are enough of them."""
    events: list[ExecutorEvent] = []
    end = time.monotonic() + _PATIENCE
    while not enough(events):
        # Without it a lost event would hang the suite.
        assert time.monotonic() < end, f"no further event after {events}"
        events += executor.events(1.0)  # short enough that the assertion above is reached in time
    return events


def has_ended(key: int) -> Callable[[list[ExecutorEvent]], bool]:
    """Return a test for the end of an assignment, also by the loss of its worker."""
    return lambda events: any(isinstance(event, AssignmentDone | WorkerLost) and event.key == key for event in events)


def ended(executor: Executor, key: int) -> AssignmentDone:
    """Return the end of an assignment, once it has ended in an orderly way."""
    return only(AssignmentDone, collect(executor, has_ended(key)))


def has(kind: type[ExecutorEvent], count: int = 1) -> Callable[[list[ExecutorEvent]], bool]:
    """Return a test for so many events of a kind."""
    return lambda events: len(all_of(kind, events)) >= count


def all_of(kind: type[E], events: Sequence[ExecutorEvent]) -> list[E]:
    """Return the events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def only(kind: type[E], events: Sequence[ExecutorEvent]) -> E:
    """Return the only event of a kind."""
    (event,) = all_of(kind, events)
    return event


def worker_facts(folder: Path, number: int) -> Mapping[str, Any]:
    """Return the process ID and the resources of the stand-in that ran a trial."""
    facts: Mapping[str, Any] = json.loads((folder / str(number) / "seen.json").read_text())
    return facts


def process(pid: int) -> psutil.Process | None:
    """Return a process; None if it is gone."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
