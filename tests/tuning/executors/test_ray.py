"""RayExecutor on a cluster of this machine: the contract of executors, and what only a cluster does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from clearsight.core.errors import BadValue, StudyUnavailable
from clearsight.core.executor import AssignmentDone, AssignmentStarted, EpochDone, ExecutorSpec, WorkerLost
from clearsight.core.trial import TrialState
from clearsight.testing.executors import (
    ExecutorContract,
    assignment,
    collect,
    has,
    has_ended,
    only,
    stand_in_spec,
    task,
)
from tests.tuning.executors.ray_environment import ray_environment

pytest.importorskip("ray", reason="the extra clearsight[ray] is not installed")

import ray

from clearsight.tuning.executors.ray import RayExecutor

_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
_COUNTING = "tests.tuning.executors.ray_environment:CountingRunner.from_json"


def spec(**changes: Any) -> ExecutorSpec:
    """The spec of an executor with stand-ins."""
    fields = {name: getattr(stand_in_spec(Path("nowhere")), name) for name in ExecutorSpec.__slots__}
    return ExecutorSpec(**{**fields, "slots": 2, **changes})


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[RayExecutor]:
    """An executor that has started a cluster; those of the tests connect to it, which saves seconds each."""
    with ray_environment(), closing(RayExecutor(spec())) as executor:
        yield executor


@pytest.fixture
def executor() -> Iterator[RayExecutor]:
    with closing(RayExecutor(spec())) as executor:
        yield executor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trials"


class TestContract(ExecutorContract):
    build = staticmethod(RayExecutor)


# --- interruption -----------------------------------------------------------------------------------------------------


def test_an_interrupt_ends_the_waiting_for_a_reply(executor: RayExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0)], prunable=True))
    collect(executor, has(EpochDone))
    executor.interrupt()
    assert only(AssignmentDone, collect(executor, has_ended(1))).results == ()


def test_an_interrupt_ends_a_task_that_waits_for_room(folder: Path) -> None:
    with closing(RayExecutor(spec(slots=1, cpus=psutil.cpu_count()))) as first:
        first.start(assignment(1, [task(folder, 0, waits=True)]))
        collect(first, has(AssignmentStarted))
        with closing(RayExecutor(spec(slots=1))) as second:
            second.start(assignment(2, [task(folder, 1)]))
            second.interrupt()
            assert collect(second, has_ended(2)) == [AssignmentDone(worker=0, key=2, results=())]


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_death_of_a_worker_process_prints_nothing(
    executor: RayExecutor, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study may be printing JSON to standard output."""
    executor.start(assignment(1, [task(folder, 0, die_at=1)]))
    lost = only(WorkerLost, collect(executor, has_ended(1)))
    assert lost == WorkerLost(worker=0, key=1, reason="its worker process died")
    assert "".join(capsys.readouterr()) == ""


def test_an_error_of_the_runner_is_in_the_log_of_the_loss(folder: Path) -> None:
    with closing(RayExecutor(spec(runner=_COUNTING))) as executor:
        executor.start(assignment(1, [task(folder, 0, raises=True)]))
        lost = only(WorkerLost, collect(executor, has_ended(1)))
    assert lost.reason == "its task raised ValueError"
    assert lost.log.endswith("ValueError: the runner is broken")


def test_a_lost_mailbox_loses_the_running_assignments_alone(executor: RayExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, waits=True)]))
    collect(executor, has(AssignmentStarted))
    ray.kill(executor._mailbox)
    lost = only(WorkerLost, collect(executor, has_ended(1)))
    assert lost == WorkerLost(worker=0, key=1, reason="the mailbox of the study died")
    executor.start(assignment(2, [task(folder, 1)]))
    assert only(AssignmentDone, collect(executor, has_ended(2))).results[0].state is TrialState.COMPLETE


# --- resources --------------------------------------------------------------------------------------------------------


def test_the_runner_stays_between_assignments(folder: Path) -> None:
    built = set()
    with closing(RayExecutor(spec(runner=_COUNTING))) as executor:
        for key in (1, 2, 3):
            executor.start(assignment(key, [task(folder, key)]))
            built.add(only(AssignmentDone, collect(executor, has_ended(key))).results[0].scores["built"])
    assert built == {1.0}


def test_close_frees_the_room_of_its_tasks(folder: Path) -> None:
    executor = RayExecutor(spec(slots=1))
    executor.start(assignment(1, [task(folder, 0, waits=True)]))
    collect(executor, has(AssignmentStarted))
    executor.close()
    executor.close()  # without effect
    with closing(RayExecutor(spec(slots=1, cpus=psutil.cpu_count()))) as second:  # needs the whole machine
        second.start(assignment(2, [task(folder, 1)]))
        assert only(AssignmentDone, collect(second, has_ended(2))).key == 2


def test_nothing_listens_beyond_loopback() -> None:
    this = psutil.Process()
    sockets = {socket for process in [*this.children(recursive=True), this] for socket in _listening(process)}
    assert {name for name, _ in sockets} >= {"gcs_server", "raylet"}
    assert [socket for socket in sockets if socket[1] not in _LOOPBACK] == []


def _listening(process: psutil.Process) -> set[tuple[str, str]]:
    try:
        connections = process.net_connections("inet")
        return {(process.name(), link.laddr.ip) for link in connections if link.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:  # Ray ends idle workers at any time
        return set()


def test_a_trial_larger_than_the_machine_is_refused() -> None:
    with pytest.raises(BadValue, match=r"^--cpus-per-trial 4096: this machine has \d+ CPUs"):
        RayExecutor(spec(cpus=4096))


def test_a_second_cluster_is_refused() -> None:
    with pytest.raises(StudyUnavailable, match=r"^--on ray://127.0.0.1:1: this program is already connected"):
        RayExecutor(spec(address="ray://127.0.0.1:1"))
