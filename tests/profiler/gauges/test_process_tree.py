"""Tree: a process with its children, some of whom come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clearsight.profiler.gauges.process_tree import ProcessTreeGauges

MIB = 1 << 20
WAIT = "import sys; held = b'x' * int({size}); print(flush=True); sys.stdin.readline()"


class Hand:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has printed a line and waits for one."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate(b"\n")


def test_children_count() -> None:
    clock = Hand()
    tree = ProcessTreeGauges(clock=clock)
    alone = tree.read()
    with child(WAIT.format(size="1")):
        clock.now = 10
        both = tree.read()
    clock.now = 20
    again = tree.read()
    assert both["tree.processes"] == alone["tree.processes"] + 1
    assert both["tree.memory"] > alone["tree.memory"]
    assert again["tree.processes"] == alone["tree.processes"]


def test_children_are_looked_for_every_few_seconds_only() -> None:
    clock = Hand()
    tree = ProcessTreeGauges(clock=clock, refresh=3.0)
    alone = tree.read()["tree.processes"]
    with child(WAIT.format(size="1")):
        clock.now = 1
        assert tree.read()["tree.processes"] == alone
        clock.now = 3
        assert tree.read()["tree.processes"] == alone + 1


def test_a_child_that_ended_is_no_error() -> None:
    clock = Hand()
    tree = ProcessTreeGauges(clock=clock, refresh=100.0)
    with child(WAIT.format(size="1")):
        before = tree.read()["tree.processes"]
    clock.now = 1
    told = tree.read()
    assert told["tree.processes"] == before - 1
    assert 0 <= told["tree.cpu"] <= 100


def test_rates_need_two_looks_and_some_time_between() -> None:
    clock = Hand()
    tree = ProcessTreeGauges(clock=clock)
    assert "tree.cpu" not in tree.read()
    clock.now = 0.01
    assert "tree.cpu" not in tree.read()
    clock.now = 1.0
    assert {"tree.cpu", "tree.switches"} <= tree.read().keys()


def test_another_process() -> None:
    """What a profiler around a training sees; `tree.cpu` is a share of the cores that *it* may use."""
    clock = Hand()
    core = min(os.sched_getaffinity(0))
    busy = (
        f"import os, sys, time; os.sched_setaffinity(0, [{core}]); print(flush=True); sys.stdin.readline()\n"
        "end = time.process_time() + 0.1\nwhile time.process_time() < end: sum(range(1000))\n"
        "print(flush=True); sys.stdin.readline()"
    )
    with child(busy) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        tree = ProcessTreeGauges(process.pid, clock=clock)
        tree.read()
        process.stdin.write(b"\n"), process.stdin.flush(), process.stdout.readline()
        clock.now = 1.0
        told = tree.read()
    assert told["tree.processes"] == 1
    assert told["tree.cpu"] == pytest.approx(10, abs=4), "0.1 s of processor time in what the clock says was 1 s"
    assert told["tree.switches"] >= 0
    clock.now = 2.0
    assert tree.read() == {}, "it ended"


def test_memory_is_that_which_is_held() -> None:
    with child(WAIT.format(size=64 * MIB)) as large, child(WAIT.format(size=1)) as small:
        difference = (
            ProcessTreeGauges(large.pid).read()["tree.memory"] - ProcessTreeGauges(small.pid).read()["tree.memory"]
        )
    assert difference == pytest.approx(64 * MIB, abs=16 * MIB)


def test_a_child_that_ended_and_was_not_asked_after_does_not_count() -> None:
    clock = Hand()
    with child(WAIT.format(size=1)) as process:
        tree = ProcessTreeGauges(clock=clock)
        before = tree.read()["tree.processes"]
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        clock.now = 1.0
        assert tree.read()["tree.processes"] == before - 1
        process.stdin = None


def test_a_name_with_parentheses_and_blanks() -> None:
    odd = "open('/proc/self/comm', 'w').write('a) R 1 (b'); " + WAIT.format(size=1)
    with child(odd) as process:
        assert ProcessTreeGauges(process.pid).read()["tree.threads"] == 1
