"""What everything that carries out trials must keep to. A third party subclasses `ExecutorContract` in its own tests:

class TestMine(ExecutorContract):
    build = staticmethod(my_executor)      # what the registry names: a Crew -> an Executor
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
    TrialTask,
    WorkerLost,
)
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.executors.spec import ExecutorSpec

_PATIENCE = 60.0  # seconds; a cluster takes its time to begin

E = TypeVar("E", bound=ExecutorEvent)


class ExecutorContract:
    """Subclass it as Test... and set `build`. Workers are stand-ins: clearsight.testing.stand_in says what they can."""

    build: Callable[[ExecutorSpec], Executor]

    @pytest.fixture
    def crew(self, tmp_path: Path) -> ExecutorSpec:
        """Two workers."""
        return stand_ins(tmp_path / "logs", slots=2)

    @pytest.fixture
    def executor(self, crew: ExecutorSpec) -> Iterator[Executor]:
        """What is held to the contract."""
        made = self.build(crew)
        yield made
        made.close()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where the trials have their folders."""
        return tmp_path / "trials"

    def test_has_the_slots_that_were_asked_for(self, executor: Executor) -> None:
        assert executor.slots == 2

    def test_tells_a_trial_from_begin_to_end(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(7, [task(folder, 3, epochs=2, accuracy=[0.5, 0.75])]))
        begun, *epochs, done = heard(executor, is_over(7))
        assert begun == AssignmentStarted(worker=begun.worker, key=7)
        assert epochs == [
            EpochDone(worker=begun.worker, number=3, epoch=1, scores={"accuracy": 0.5}),
            EpochDone(worker=begun.worker, number=3, epoch=2, scores={"accuracy": 0.75}),
        ]
        assert done == AssignmentDone(
            worker=begun.worker,
            key=7,
            outcomes=(
                TrialResult(
                    number=3,
                    state=TrialState.COMPLETE,
                    values=(0.75,),
                    curve={1: {"accuracy": 0.5}, 2: {"accuracy": 0.75}},
                    scores={"accuracy": 0.75},
                    seconds=1.5,
                ),
            ),
        )

    def test_several_trials_of_one_assignment_come_back_together(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, number) for number in (4, 5, 6)]))
        done = the(AssignmentDone, heard(executor, is_over(1)))
        assert [outcome.number for outcome in done.outcomes] == [4, 5, 6]

    def test_a_failed_trial_is_an_outcome_and_no_loss(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, fails="no such layer"), task(folder, 1)]))
        failed, complete = the(AssignmentDone, heard(executor, is_over(1))).outcomes
        assert (failed.state, failed.reason) == (TrialState.FAILED, "no such layer")
        assert complete.state is TrialState.COMPLETE

    def test_a_number_that_is_none_arrives_as_none(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, accuracy=None)]))
        events = heard(executor, is_over(1))
        assert math.isnan(the(EpochDone, events).scores["accuracy"])
        (outcome,) = the(AssignmentDone, events).outcomes
        assert math.isnan(outcome.values[0])
        assert math.isnan(outcome.curve[1]["accuracy"])

    def test_a_worker_is_told_its_share_of_the_machine(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, epochs=1)], told=True))
        executor.start(assignment(2, [task(folder, 1, epochs=1)], told=True))
        epochs = all_of(EpochDone, heard(executor, lambda events: len(all_of(EpochDone, events)) == 2))
        assert len({event.worker for event in epochs}) == 2
        for event in epochs:
            assert seen(folder, event.number)["post"] == {"slot": event.worker}

    def test_assignments_are_carried_out_at_a_time(self, executor: Executor, folder: Path) -> None:
        for key in (1, 2):
            executor.start(assignment(key, [task(folder, key)], told=True))
        both = all_of(EpochDone, heard(executor, lambda events: len(all_of(EpochDone, events)) == 2))
        assert {event.number for event in both} == {1, 2}  # and neither is over, since neither was answered
        for number in (1, 2):
            executor.answer(number, 1, "")
        heard(executor, lambda events: len(all_of(AssignmentDone, events)) == 2)

    def test_a_worker_takes_one_assignment_after_the_other(self, executor: Executor, folder: Path) -> None:
        for key in range(1, 6):
            executor.start(assignment(key, [task(folder, key)]))
            assert the(AssignmentDone, heard(executor, is_over(key))).outcomes[0].number == key

    def test_where_every_epoch_is_answered_an_answer_ends_the_trial(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, epochs=9), task(folder, 1)], told=True))
        for epoch, stop in ((1, ""), (2, ""), (3, "it is behind the others")):
            assert the(EpochDone, heard(executor, has(EpochDone))).epoch == epoch
            executor.answer(0, epoch, stop)
        assert the(EpochDone, heard(executor, has(EpochDone))).number == 1
        executor.answer(1, 1, "")
        pruned, complete = the(AssignmentDone, heard(executor, is_over(1))).outcomes
        assert (pruned.state, pruned.reason) == (TrialState.PRUNED, "it is behind the others")
        assert list(pruned.curve) == [1, 2, 3]
        assert complete.state is TrialState.COMPLETE

    def test_a_worker_that_dies_costs_its_assignment(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 0, epochs=3, die_at=2)]))
        events = heard(executor, is_over(1))
        lost = the(WorkerLost, events)
        assert [event.epoch for event in all_of(EpochDone, events)] == [1]
        assert lost.key == 1
        assert lost.why
        assert "\n" not in lost.why

    def test_and_nothing_else(self, executor: Executor, folder: Path) -> None:
        executor.start(assignment(1, [task(folder, 1)], told=True))
        heard(executor, has(EpochDone))
        executor.start(assignment(2, [task(folder, 2, die_at=1)]))
        assert the(WorkerLost, heard(executor, has(WorkerLost))).key == 2
        executor.start(assignment(3, [task(folder, 3)]))
        assert the(AssignmentDone, heard(executor, is_over(3))).outcomes[0].number == 3
        executor.answer(1, 1, "")
        assert the(AssignmentDone, heard(executor, is_over(1))).outcomes[0].number == 1

    @pytest.mark.parametrize("told", [True, False])
    def test_interrupted_trials_have_no_outcome(self, executor: Executor, folder: Path, told: bool) -> None:
        """Those that were through have theirs, and a worker that was interrupted can be given work again."""
        waiting = task(folder, 1, epochs=5, waits=True)
        executor.start(assignment(1, [task(folder, 0, fails="early"), waiting, task(folder, 2)], told=told))
        assert the(EpochDone, heard(executor, has(EpochDone))).number == 1
        executor.interrupt()
        assert [outcome.number for outcome in the(AssignmentDone, heard(executor, is_over(1))).outcomes] == [0]
        executor.start(assignment(2, [task(folder, 3)]))
        assert [outcome.number for outcome in the(AssignmentDone, heard(executor, is_over(2))).outcomes] == [3]

    def test_to_interrupt_nobody_is_nothing(self, executor: Executor) -> None:
        executor.interrupt()
        assert executor.events(0) == []

    def test_looks_without_waiting(self, executor: Executor, folder: Path) -> None:
        assert executor.events(0) == []
        executor.start(assignment(1, [task(folder, 0, waits=True)]))
        heard(executor, has(EpochDone))
        began = time.monotonic()
        assert executor.events(0) == []
        assert time.monotonic() - began < 1

    def test_nobody_works_on_once_it_is_closed(self, crew: ExecutorSpec, folder: Path) -> None:
        executor = self.build(crew)
        for number in (0, 1):
            executor.start(assignment(number, [task(folder, number, waits=True)]))
        heard(executor, lambda events: len(all_of(EpochDone, events)) == 2)
        workers = [process(seen(folder, number)["pid"]) for number in (0, 1)]
        executor.close()
        _, alive = psutil.wait_procs([worker for worker in workers if worker is not None], timeout=_PATIENCE)
        assert alive == []


def stand_ins(logs: Path, slots: int = 1) -> ExecutorSpec:
    """A crew of stand-ins."""
    return ExecutorSpec(
        slots=slots,
        command=(sys.executable, "-m", "clearsight.testing.stand_in"),
        bench="clearsight.testing.stand_in:StandIn",
        post=lambda slot: {"slot": slot},
        logs=logs,
    )


def task(folder: Path, number: int, **recipe: Any) -> TrialTask:
    """A trial that asks a stand-in for what stands in its recipe."""
    return TrialTask(number=number, folder=str(folder / str(number)), recipe=recipe)


def assignment(key: int, tasks: Sequence[TrialTask], *, told: bool = False) -> Assignment:
    """Trials for one worker."""
    return Assignment(key=key, tasks=tuple(tasks), data="/no/data", metrics=("accuracy",), told=told)


def heard(executor: Executor, enough: Callable[[list[ExecutorEvent]], bool]) -> list[ExecutorEvent]:
    """All events until there are enough of them."""
    events: list[ExecutorEvent] = []
    end = time.monotonic() + _PATIENCE
    while not enough(events):
        assert time.monotonic() < end, f"nothing more was heard after {events}"
        events += executor.events(1.0)
    return events


def is_over(key: int) -> Callable[[list[ExecutorEvent]], bool]:
    """Whether an assignment has ended, well or not."""
    return lambda events: any(isinstance(event, AssignmentDone | WorkerLost) and event.key == key for event in events)


def has(kind: type[ExecutorEvent]) -> Callable[[list[ExecutorEvent]], bool]:
    """Whether there is an event of a kind."""
    return lambda events: any(isinstance(event, kind) for event in events)


def all_of(kind: type[E], events: Sequence[ExecutorEvent]) -> list[E]:
    """The events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def the(kind: type[E], events: Sequence[ExecutorEvent]) -> E:
    """The one event of a kind."""
    (found,) = all_of(kind, events)
    return found


def seen(folder: Path, number: int) -> Mapping[str, Any]:
    """What the stand-in that had a trial left of itself: its process and its post."""
    left: Mapping[str, Any] = json.loads((folder / str(number) / "seen.json").read_text())
    return left


def process(pid: int) -> psutil.Process | None:
    """A process, or None where it is gone."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
