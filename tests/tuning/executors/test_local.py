"""Worker processes of this machine: how they end, and that they never outlive the study.

What every executor does is in clearsight.testing.executors; here is what only processes do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from clearsight.core.executor import AssignmentDone, AssignmentStarted, EpochDone, WorkerLost
from clearsight.testing.executors import (
    assignment,
    collect,
    has,
    has_ended,
    only,
    process,
    stand_in_spec,
    task,
    worker_facts,
)
from clearsight.tuning.executors import EXECUTORS, local
from clearsight.tuning.executors.local import LocalExecutor

STUBBORN = Path(__file__).with_name("stubborn.py")


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(stand_in_spec(tmp_path / "logs"))) as executor:
        yield executor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trials"


def with_command(tmp_path: Path, *words: str) -> LocalExecutor:
    return LocalExecutor(replace(stand_in_spec(tmp_path / "logs"), slots=1, command=(sys.executable, *words)))


def stubborn(tmp_path: Path, mode: str) -> LocalExecutor:
    return with_command(tmp_path, str(STUBBORN), mode)


def kill(executor: LocalExecutor) -> psutil.Process:
    """Kill the only worker, and return it."""
    (pid,) = executor.pids().values()
    worker = psutil.Process(pid)
    worker.kill()
    return worker


def test_is_registered_as_local() -> None:
    assert EXECUTORS.load("local") is LocalExecutor


def test_a_killed_worker_is_lost_with_the_name_of_the_signal(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, waits=True)]))
    collect(executor, has(EpochDone))
    kill(executor)
    lost = only(WorkerLost, collect(executor, has(WorkerLost)))
    assert lost == WorkerLost(worker=0, key=1, reason="its worker was killed by SIGKILL", log="trial 0 begins")


def test_a_worker_that_exits_is_lost_with_its_code_and_log(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, exit_at=1)]))
    lost = only(WorkerLost, collect(executor, has(WorkerLost)))
    assert (lost.reason, lost.log) == ("its worker exited with code 3", "trial 0 begins\nthis cannot go on")


def test_the_log_has_the_error_of_a_worker(tmp_path: Path, folder: Path) -> None:
    with closing(with_command(tmp_path, "-c", "raise SystemExit('no torch here')")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        lost = only(WorkerLost, collect(executor, has(WorkerLost)))
        assert (lost.reason, lost.log) == ("its worker exited with code 1", "no torch here")


def test_the_log_of_a_loss_begins_with_the_worker(executor: LocalExecutor, folder: Path) -> None:
    for number in (0, 1):
        executor.start(assignment(number, [task(folder, number, die_at=1)]))
        lost = only(WorkerLost, collect(executor, has_ended(number)))
        assert lost.log == f"trial {number} begins\nthese are my last words"
    assert (folder.parent / "logs" / "worker-0.log").read_text().count("last words") == 2  # the file has all of them


def test_a_loss_has_the_last_lines_of_the_log(tmp_path: Path, folder: Path) -> None:
    with closing(with_command(tmp_path, "-c", "print(*range(1000), sep='\\n')")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        assert only(WorkerLost, collect(executor, has(WorkerLost))).log.split() == [
            str(number) for number in range(988, 1000)
        ]


def test_the_next_assignment_gets_a_new_worker(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, die_at=1)]))
    collect(executor, has(WorkerLost))
    assert executor.pids() == {}
    executor.start(assignment(2, [task(folder, 1)]))
    collect(executor, has(AssignmentDone))
    assert worker_facts(folder, 1)["pid"] != worker_facts(folder, 0)["pid"]


def test_an_idle_worker_that_dies_costs_nothing(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0)]))
    collect(executor, has(AssignmentDone))
    kill(executor).wait(10)
    executor.start(assignment(2, [task(folder, 1)]))
    assert only(AssignmentDone, collect(executor, has_ended(2))).results[0].number == 1


def test_the_death_of_an_idle_worker_is_noticed(executor: LocalExecutor) -> None:
    executor.warm()
    kill(executor)
    assert executor.events(10) == []
    assert executor.pids() == {}


def test_a_worker_lives_on_between_assignments(executor: LocalExecutor, folder: Path) -> None:
    for number in range(3):
        executor.start(assignment(number, [task(folder, number)]))
        collect(executor, has_ended(number))
    assert len({worker_facts(folder, number)["pid"] for number in range(3)}) == 1


def test_warm_starts_workers_before_there_is_work(tmp_path: Path, folder: Path) -> None:
    with closing(LocalExecutor(stand_in_spec(tmp_path / "logs", slots=2))) as executor:
        assert executor.pids() == {}
        executor.warm(5)  # but no more than there are slots
        before = executor.pids()
        assert list(before) == [0, 1]
        executor.start(assignment(1, [task(folder, 0)]))
        collect(executor, has(AssignmentDone))
        assert executor.pids() == before


def test_workers_are_outside_the_group_of_ctrl_c(executor: LocalExecutor) -> None:
    executor.warm()
    assert os.getpgid(executor.pids()[0]) != os.getpgid(0)


def test_a_worker_that_does_not_exit_is_killed(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PATIENCE", 0.1)
    executor = stubborn(tmp_path, "deaf")
    executor.start(assignment(1, [task(folder, 0)]))
    collect(executor, has(AssignmentStarted))
    worker = process(executor.pids()[0])
    executor.close()
    assert worker is not None
    assert not worker.is_running()


def test_a_worker_that_closes_its_pipe_is_lost(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PATIENCE", 0.1)
    with closing(stubborn(tmp_path, "silent")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        assert only(WorkerLost, collect(executor, has(WorkerLost))).reason == "its worker closed its pipe"
        assert executor.pids() == {}


_STUDY_PROCESS = """
import sys
from pathlib import Path
from clearsight.core.executor import EpochDone
from clearsight.testing.executors import assignment, has, collect, stand_in_spec, task
from clearsight.tuning.executors.local import LocalExecutor
executor = LocalExecutor(stand_in_spec(Path(sys.argv[1]) / "logs"))
executor.start(assignment(1, [task(Path(sys.argv[1]) / "trials", 0, waits=True)]))
collect(executor, has(EpochDone))
print("running", flush=True)
sys.stdin.read()
"""


def test_a_worker_exits_with_its_study(tmp_path: Path, folder: Path) -> None:
    """Also during a trial, and also if the study was killed and could close nothing."""
    command = [sys.executable, "-c", _STUDY_PROCESS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as study:
        assert study.stdout is not None
        assert study.stdout.readline() == "running\n"
        worker = process(worker_facts(folder, 0)["pid"])
        assert worker is not None
        study.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([worker], timeout=30)
    assert alive == []
