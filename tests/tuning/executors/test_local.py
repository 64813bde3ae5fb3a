"""Worker processes of this machine: how they end, and that they never outlive whoever started them.

What every executor keeps stands in clearsight.testing.executors; here is what only processes can do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from clearsight.core.executor import AssignmentDone, AssignmentStarted, EpochDone, WorkerLost, closing
from clearsight.testing.executors import assignment, has, heard, is_over, process, seen, stand_ins, task, the
from clearsight.tuning.executors import EXECUTORS, worker_process
from clearsight.tuning.executors.local import LocalExecutor, build

STUBBORN = Path(__file__).with_name("stubborn.py")


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    with closing(made := build(stand_ins(tmp_path / "logs"))):
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trials"


def stubborn(tmp_path: Path, how: str) -> LocalExecutor:
    return LocalExecutor(1, (sys.executable, str(STUBBORN), how), lambda slot: {}, tmp_path / "logs")


def kill(executor: LocalExecutor) -> psutil.Process:
    """Kill the one worker; returns it, gone."""
    (pid,) = executor.pids().values()
    worker = psutil.Process(pid)
    worker.kill()
    return worker


def test_is_the_one_called_local() -> None:
    assert EXECUTORS.load("local") is build


def test_a_worker_that_is_killed_is_lost_with_the_signals_name(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, waits=True)]))
    heard(executor, has(EpochDone))
    kill(executor)
    lost = the(WorkerLost, heard(executor, has(WorkerLost)))
    assert lost == WorkerLost(worker=0, key=1, why="its worker was ended by SIGKILL", log="trial 0 begins")


def test_a_worker_that_ends_itself_is_lost_with_its_code_and_last_words(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, exit_at=1)]))
    lost = the(WorkerLost, heard(executor, has(WorkerLost)))
    assert (lost.why, lost.log) == ("its worker ended with exit code 3", "trial 0 begins\nthis cannot go on")


def test_an_exception_is_among_the_last_words(tmp_path: Path, folder: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no torch here')")
    with closing(LocalExecutor(1, command, lambda slot: {}, tmp_path / "logs")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        lost = the(WorkerLost, heard(executor, has(WorkerLost)))
        assert (lost.why, lost.log) == ("its worker ended with exit code 1", "no torch here")


def test_last_words_are_its_own_and_not_those_of_an_earlier_one(executor: LocalExecutor, folder: Path) -> None:
    for number in (0, 1):
        executor.start(assignment(number, [task(folder, number, die_at=1)]))
        lost = the(WorkerLost, heard(executor, is_over(number)))
        assert lost.log == f"trial {number} begins\nthese are my last words"
    assert (folder.parent / "logs" / "worker-0.log").read_text().count("last words") == 2  # the log has it all


def test_of_many_words_the_last_are_told(tmp_path: Path, folder: Path) -> None:
    command = (sys.executable, "-c", "print(*range(1000), sep='\\n')")
    with closing(LocalExecutor(1, command, lambda slot: {}, tmp_path / "logs")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        assert the(WorkerLost, heard(executor, has(WorkerLost))).log.split() == [
            str(number) for number in range(988, 1000)
        ]


def test_the_next_assignment_gets_a_new_worker(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0, die_at=1)]))
    heard(executor, has(WorkerLost))
    assert executor.pids() == {}
    executor.start(assignment(2, [task(folder, 1)]))
    heard(executor, has(AssignmentDone))
    assert seen(folder, 1)["pid"] != seen(folder, 0)["pid"]


def test_a_worker_that_dies_with_nothing_to_do_costs_nothing(executor: LocalExecutor, folder: Path) -> None:
    executor.start(assignment(1, [task(folder, 0)]))
    heard(executor, has(AssignmentDone))
    kill(executor).wait(10)
    executor.start(assignment(2, [task(folder, 1)]))
    assert the(AssignmentDone, heard(executor, is_over(2))).outcomes[0].number == 1


def test_its_end_is_heard_of_while_nothing_is_under_way(executor: LocalExecutor) -> None:
    executor.warm()
    kill(executor)
    assert executor.events(10) == []
    assert executor.pids() == {}


def test_one_worker_serves_one_trial_after_the_other(executor: LocalExecutor, folder: Path) -> None:
    for number in range(3):
        executor.start(assignment(number, [task(folder, number)]))
        heard(executor, is_over(number))
    assert len({seen(folder, number)["pid"] for number in range(3)}) == 1


def test_a_warm_worker_is_there_before_the_work(tmp_path: Path, folder: Path) -> None:
    with closing(build(stand_ins(tmp_path / "logs", slots=2))) as executor:
        assert executor.pids() == {}
        executor.warm(5)  # but no more than there are places
        before = executor.pids()
        assert list(before) == [0, 1]
        executor.start(assignment(1, [task(folder, 0)]))
        heard(executor, has(AssignmentDone))
        assert executor.pids() == before


def test_ctrl_c_reaches_the_study_alone(executor: LocalExecutor) -> None:
    executor.warm()
    assert os.getpgid(executor.pids()[0]) != os.getpgid(0)


def test_a_worker_that_will_not_go_is_ended(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_PATIENCE", 0.1)
    executor = stubborn(tmp_path, "deaf")
    executor.start(assignment(1, [task(folder, 0)]))
    heard(executor, has(AssignmentStarted))
    worker = process(executor.pids()[0])
    executor.close()
    assert worker is not None
    assert not worker.is_running()


def test_a_worker_that_falls_silent_is_lost(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_PATIENCE", 0.1)
    with closing(stubborn(tmp_path, "silent")) as executor:
        executor.start(assignment(1, [task(folder, 0)]))
        assert the(WorkerLost, heard(executor, has(WorkerLost))).why == "its worker went silent"
        assert executor.pids() == {}


_STUDY = """
import sys
from pathlib import Path
from clearsight.core.executor import EpochDone
from clearsight.testing.executors import assignment, has, heard, stand_ins, task
from clearsight.tuning.executors.local import build
executor = build(stand_ins(Path(sys.argv[1]) / "logs"))
executor.start(assignment(1, [task(Path(sys.argv[1]) / "trials", 0, waits=True)]))
heard(executor, has(EpochDone))
print("under way", flush=True)
sys.stdin.read()
"""


def test_a_worker_ends_with_whoever_started_it(tmp_path: Path, folder: Path) -> None:
    """Also in the middle of a trial, and also where that process was killed and could close nothing."""
    command = [sys.executable, "-c", _STUDY, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as study:
        assert study.stdout is not None
        assert study.stdout.readline() == "under way\n"
        worker = process(seen(folder, 0)["pid"])
        assert worker is not None
        study.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([worker], timeout=30)
    assert alive == []
