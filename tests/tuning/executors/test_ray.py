"""RayExecutor on a cluster of this machine, with a bench that trains nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from clearsight.core.errors import BadValue, StudyUnavailable
from clearsight.core.executor import (
    Assignment,
    AssignmentDone,
    AssignmentStarted,
    EpochDone,
    Executor,
    TrialTask,
    WorkerLost,
    closing,
)
from clearsight.core.trial import TrialState
from clearsight.tuning.executors.spec import ExecutorSpec
from tests.tuning.executors.ray_bench import surroundings, until

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

from clearsight.tuning.executors.ray import RayExecutor, build

_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


def _crew(**changes: Any) -> ExecutorSpec:
    given: dict[str, Any] = {
        "slots": 2,
        "command": (),
        "bench": "tests.tuning.executors.ray_bench:Bench.at",
        "post": lambda slot: {"worth": 7.0},
        "logs": Path("nowhere"),
        **changes,
    }
    return ExecutorSpec(**given)


def _work(key: int, do: str = "train", *, epochs: int = 2, told: bool = False) -> Assignment:
    task = TrialTask(number=key * 10, folder="", recipe={"do": do, "epochs": epochs})
    return Assignment(key=key, tasks=(task,), data="", metrics=("accuracy",), told=told)


def _are(kind: Any, count: int = 1) -> Callable[[list[Any]], bool]:
    return lambda found: sum(isinstance(one, kind) for one in found) >= count


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayExecutor]:
    """An executor that has started a cluster; those of the tests find it there, which spares them the seconds."""
    with surroundings(), closing(build(_crew())) as executor:
        yield executor


@pytest.fixture
def executor(cluster: RayExecutor) -> Iterator[RayExecutor]:
    with closing(build(_crew())) as executor:
        yield executor


def test_keeps_the_protocol(executor: RayExecutor) -> None:
    kept: Executor = executor
    assert kept.slots == 2
    assert kept.events(0.0) == []


def test_an_assignment_is_told_from_begin_to_end(executor: RayExecutor) -> None:
    executor.start(_work(1))
    begun, first, second, done = until(executor.events, _are(AssignmentDone))
    assert begun == AssignmentStarted(worker=0, key=1)
    assert isinstance(first, EpochDone)
    assert (first.worker, first.number, first.epoch, first.scores["accuracy"]) == (0, 10, 1, 0.1)
    assert math.isnan(first.scores["loss"])
    assert (second.number, second.epoch) == (10, 2)
    assert isinstance(done, AssignmentDone)
    assert [(one.number, one.state, one.values) for one in done.outcomes] == [(10, TrialState.COMPLETE, (7.0,))]


def test_two_are_carried_out_at_a_time(executor: RayExecutor) -> None:
    executor.start(_work(1, "wait"))
    executor.start(_work(2, "wait"))
    begun = until(executor.events, _are(AssignmentStarted, 2))
    assert {one.worker for one in begun} == {0, 1}
    executor.interrupt()
    assert {one.key for one in until(executor.events, _are(AssignmentDone, 2))} == {1, 2}


def test_an_answer_ends_a_trial(executor: RayExecutor) -> None:
    executor.start(_work(1, epochs=9, told=True))
    until(executor.events, _are(EpochDone))
    executor.answer(10, 1, "")
    until(executor.events, _are(EpochDone))
    executor.answer(10, 2, "it is behind")
    (done,) = until(executor.events, _are(AssignmentDone))
    assert [(one.state, one.reason) for one in done.outcomes] == [(TrialState.PRUNED, "it is behind")]


def test_interrupted_trials_have_no_outcome_and_others_follow(executor: RayExecutor) -> None:
    executor.start(_work(1, "wait"))
    until(executor.events, _are(AssignmentStarted))
    executor.interrupt()
    assert until(executor.events, _are(AssignmentDone)) == [AssignmentDone(worker=0, key=1, outcomes=())]
    executor.start(_work(2, epochs=1))
    assert until(executor.events, _are(AssignmentDone))[-1].outcomes[0].state is TrialState.COMPLETE


def test_interrupt_ends_what_waits_for_an_answer(executor: RayExecutor) -> None:
    executor.start(_work(1, epochs=1, told=True))
    until(executor.events, _are(EpochDone))
    executor.interrupt()
    assert until(executor.events, _are(AssignmentDone))[-1].key == 1


def test_interrupt_ends_what_waits_for_room(cluster: RayExecutor) -> None:
    with closing(build(_crew(slots=1, address="", cpus=psutil.cpu_count()))) as one:
        one.start(_work(1, "wait"))
        until(one.events, _are(AssignmentStarted))
        with closing(build(_crew(slots=1))) as other:
            other.start(_work(2))
            other.interrupt()
            assert until(other.events, _are(AssignmentDone)) == [AssignmentDone(worker=0, key=2, outcomes=())]


def test_a_worker_that_dies_costs_its_assignment_alone(
    executor: RayExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    executor.start(_work(1, "die"))
    executor.start(_work(2))
    found = until(executor.events, lambda found: _are(AssignmentDone)(found) and _are(WorkerLost)(found))
    (lost,) = [one for one in found if isinstance(one, WorkerLost)]
    assert lost == WorkerLost(worker=0, key=1, why="its worker process died")
    executor.start(_work(3, epochs=1))
    assert until(executor.events, _are(AssignmentDone))[-1].key == 3
    assert "".join(capsys.readouterr()) == ""  # a study may be printing JSON there


def test_a_bench_that_raises_is_quoted(executor: RayExecutor) -> None:
    executor.start(_work(1, "raise"))
    lost = until(executor.events, _are(WorkerLost))[-1]
    assert lost.why == "its task raised ValueError"
    assert lost.log.endswith("ValueError: the bench is broken")


def test_the_bench_stays_between_assignments(executor: RayExecutor) -> None:
    where = []
    for key in (1, 2, 3):
        executor.start(_work(key, "tell where"))
        where.append(until(executor.events, _are(AssignmentDone))[-1].outcomes[0].scores)
    assert {one["made"] for one in where} == {1.0}


def test_a_lost_mailbox_loses_what_is_under_way_and_no_more(executor: RayExecutor) -> None:
    import ray

    executor.start(_work(1, "wait"))
    until(executor.events, _are(AssignmentStarted))
    ray.kill(executor._mailbox)
    assert until(executor.events, _are(WorkerLost)) == [
        WorkerLost(worker=0, key=1, why="the mailbox of the study died")
    ]
    executor.start(_work(2))
    assert until(executor.events, _are(AssignmentDone))[-1].key == 2


def test_close_ends_tasks_whatever_they_do(cluster: RayExecutor) -> None:
    executor = build(_crew(slots=1))
    executor.start(_work(1, "wait"))
    until(executor.events, _are(AssignmentStarted))
    executor.close()
    executor.close()  # a second time it is no more
    with closing(build(_crew(slots=1, cpus=psutil.cpu_count()))) as next_one:  # needs all of the room there is
        next_one.start(_work(2))
        assert until(next_one.events, _are(AssignmentDone))[-1].key == 2


def test_nothing_listens_beyond_loopback(cluster: RayExecutor) -> None:
    me = psutil.Process()
    heard = {where for one in [*me.children(recursive=True), me] for where in _listening(one)}
    assert {name for name, _ in heard} >= {"gcs_server", "raylet"}
    assert [one for one in heard if one[1] not in _LOOPBACK] == []


def _listening(process: psutil.Process) -> set[tuple[str, str]]:
    try:
        there = process.net_connections("inet")
        return {(process.name(), one.laddr.ip) for one in there if one.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:  # Ray ends idle workers whenever it likes
        return set()


def test_more_than_the_machine_has_is_refused(cluster: RayExecutor) -> None:
    with pytest.raises(BadValue, match=r"^--cpus-per-trial 4096: this machine has \d+ CPUs"):
        build(_crew(cpus=4096))


def test_another_cluster_than_the_programs_own_is_refused(cluster: RayExecutor) -> None:
    with pytest.raises(StudyUnavailable, match=r"^--on ray://127.0.0.1:1: this program is connected"):
        build(_crew(address="ray://127.0.0.1:1"))
