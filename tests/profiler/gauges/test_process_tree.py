"""ProcessTreeGauges: a process with its children, some of which start and end meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clearsight.profiler.gauges.process_tree import ProcessTreeGauges

MIB = 1 << 20
WAIT = "import sys; data = b'x' * int({size}); print(flush=True); sys.stdin.readline()"


class ManualClock:
    """A clock that stands still until the test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that has printed a line and waits for one."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate(b"\n")


def test_children_are_included() -> None:
    clock = ManualClock()
    tree = ProcessTreeGauges(clock=clock)
    without = tree.read()
    with child(WAIT.format(size="1")):
        clock.now = 10
        both = tree.read()
    clock.now = 20
    afterwards = tree.read()
    assert both["tree.processes"] == without["tree.processes"] + 1
    assert both["tree.memory"] > without["tree.memory"]
    assert afterwards["tree.processes"] == without["tree.processes"]


def test_children_are_searched_only_every_few_seconds() -> None:
    clock = ManualClock()
    tree = ProcessTreeGauges(clock=clock, refresh=3.0)
    without = tree.read()["tree.processes"]
    with child(WAIT.format(size="1")):
        clock.now = 1
        assert tree.read()["tree.processes"] == without
        clock.now = 3
        assert tree.read()["tree.processes"] == without + 1


def test_a_child_that_ended_is_no_error() -> None:
    clock = ManualClock()
    tree = ProcessTreeGauges(clock=clock, refresh=100.0)
    with child(WAIT.format(size="1")):
        before = tree.read()["tree.processes"]
    clock.now = 1
    values = tree.read()
    assert values["tree.processes"] == before - 1
    assert 0 <= values["tree.cpu"] <= 100


def test_rates_need_two_samples_and_some_time_between() -> None:
    clock = ManualClock()
    tree = ProcessTreeGauges(clock=clock)
    assert "tree.cpu" not in tree.read()
    clock.now = 0.01
    assert "tree.cpu" not in tree.read()
    clock.now = 1.0
    assert {"tree.cpu", "tree.switches"} <= tree.read().keys()


def test_tree_of_another_process() -> None:
    """`tree.cpu` is a share of the cores that the other process may use, as a profiler around a training needs it."""
    clock = ManualClock()
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
        values = tree.read()
    assert values["tree.processes"] == 1
    assert values["tree.cpu"] == pytest.approx(10, abs=4), "0.1 s of processor time in what the clock says was 1 s"
    assert values["tree.switches"] >= 0
    clock.now = 2.0
    assert tree.read() == {}, "it ended"


def test_memory_is_the_resident_memory() -> None:
    with child(WAIT.format(size=64 * MIB)) as large, child(WAIT.format(size=1)) as small:
        difference = (
            ProcessTreeGauges(large.pid).read()["tree.memory"] - ProcessTreeGauges(small.pid).read()["tree.memory"]
        )
    assert difference == pytest.approx(64 * MIB, abs=16 * MIB)


def test_a_zombie_does_not_count() -> None:
    clock = ManualClock()
    with child(WAIT.format(size=1)) as process:
        tree = ProcessTreeGauges(clock=clock)
        before = tree.read()["tree.processes"]
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        clock.now = 1.0
        assert tree.read()["tree.processes"] == before - 1
        process.stdin = None


def test_a_process_name_may_contain_parentheses_and_blanks() -> None:
    odd = "open('/proc/self/comm', 'w').write('a) R 1 (b'); " + WAIT.format(size=1)
    with child(odd) as process:
        assert ProcessTreeGauges(process.pid).read()["tree.threads"] == 1
