"""SharedCounters: sums that processes share in a file."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.external.shared_counters import NAMES, SharedCounters

FORK = multiprocessing.get_context("fork")


def counters_at(path: Path) -> SharedCounters:
    return SharedCounters(lambda: path)


def test_all_sums_are_zero_before_the_first_addition(tmp_path: Path) -> None:
    assert counters_at(tmp_path / "sums").sums() == dict.fromkeys(NAMES, 0.0)
    assert not (tmp_path / "sums").exists()


def test_other_counters_of_the_file_see_the_sums(tmp_path: Path) -> None:
    first, second = counters_at(tmp_path / "in" / "sums"), counters_at(tmp_path / "in" / "sums")
    first.add({"decode": 1.5, "images": 8})
    second.add({"decode": 0.5})
    assert first.sums() == second.sums() == {**dict.fromkeys(NAMES, 0.0), "decode": 2.0, "images": 8.0}
    first.close()
    assert first.sums()["decode"] == 2.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e6)), max_size=20))
def test_sums_are_those_of_all_amounts(tmp_path_factory, amounts) -> None:  # type: ignore[no-untyped-def]
    counters = counters_at(tmp_path_factory.mktemp("counters") / "sums")
    expected = dict.fromkeys(NAMES, 0.0)
    for amount in amounts:
        counters.add(amount)
        expected = {name: value + amount.get(name, 0.0) for name, value in expected.items()}
    assert counters.sums() == expected


def adding(counters: SharedCounters, times: int) -> None:
    counters.close()
    for _ in range(times):
        counters.add({"images": 1.0})


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    counters = counters_at(tmp_path / "sums")
    workers = [FORK.Process(target=adding, args=(counters, 400)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counters.sums()["images"] == 1200


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    counters = counters_at(tmp_path / "sums")
    worker = FORK.Process(target=adding, args=(counters, 10**9))
    worker.start()
    while not counters.sums()["images"]:
        pass
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    before = counters.sums()["images"]
    counters.add({"images": 1.0})
    assert counters.sums()["images"] == before + 1
