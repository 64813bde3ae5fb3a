"""Ledger: sums that processes share."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.external.shared_counters import NAMES, SharedCounters

FORK = multiprocessing.get_context("fork")


def at(path: Path) -> SharedCounters:
    return SharedCounters(lambda: path)


def test_before_anything_is_added_all_is_zero(tmp_path: Path) -> None:
    assert at(tmp_path / "sums").sums() == dict.fromkeys(NAMES, 0.0)
    assert not (tmp_path / "sums").exists()


def test_sums_are_seen_by_another_ledger_of_the_file(tmp_path: Path) -> None:
    one, two = at(tmp_path / "in" / "sums"), at(tmp_path / "in" / "sums")
    one.add({"decode": 1.5, "images": 8})
    two.add({"decode": 0.5})
    assert one.sums() == two.sums() == {**dict.fromkeys(NAMES, 0.0), "decode": 2.0, "images": 8.0}
    one.close()
    assert one.sums()["decode"] == 2.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e6)), max_size=20))
def test_the_sum_is_that_of_all_amounts(tmp_path_factory, amounts) -> None:  # type: ignore[no-untyped-def]
    ledger = at(tmp_path_factory.mktemp("ledger") / "sums")
    wanted = dict.fromkeys(NAMES, 0.0)
    for one in amounts:
        ledger.add(one)
        wanted = {name: had + one.get(name, 0.0) for name, had in wanted.items()}
    assert ledger.sums() == wanted


def adding(ledger: SharedCounters, times: int) -> None:
    ledger.close()
    for _ in range(times):
        ledger.add({"images": 1.0})


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    ledger = at(tmp_path / "sums")
    workers = [FORK.Process(target=adding, args=(ledger, 400)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert ledger.sums()["images"] == 1200


def test_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    ledger = at(tmp_path / "sums")
    worker = FORK.Process(target=adding, args=(ledger, 10**9))
    worker.start()
    while not ledger.sums()["images"]:
        pass
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    before = ledger.sums()["images"]
    ledger.add({"images": 1.0})
    assert ledger.sums()["images"] == before + 1
