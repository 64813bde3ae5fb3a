"""LoadTimer: time that the making of batches takes, part by part, and its sums over processes that share a file."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.profile import LOAD_PARTS
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.load_timer import NAMES, LoadTimer, SharedCounters

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def load_timer(tmp_path: Path) -> Iterator[LoadTimer]:
    load_timer = LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "lines.jsonl"))
    yield load_timer
    load_timer.close()


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_time_of_an_inner_part_is_its_own(load_timer: LoadTimer) -> None:
    decode = load_timer.timed("decode", busy)
    augment = load_timer.timed("augment", lambda: (decode(0.02), busy(0.01)))
    assert load_timer.begin()
    augment()
    load_timer.end(4)
    sums = load_timer.sums()
    assert sums["decode"] >= 0.02
    assert 0.01 <= sums["augment"] < sums["decode"] + 0.01
    assert sums["images"] == 4


def test_time_outside_of_known_functions_is_decoding(load_timer: LoadTimer) -> None:
    load_timer.begin()
    busy(0.02)
    load_timer.end(1)
    assert load_timer.sums()["decode"] >= 0.02


def augment_by_hand() -> None:
    busy(0.2)


def test_time_outside_of_known_functions_goes_by_their_names(load_timer: LoadTimer) -> None:
    load_timer.begin()
    augment_by_hand()
    load_timer.end(1)
    assert load_timer.sums()["augment"] > 0.15


def test_only_the_thread_that_makes_a_batch_is_timed(load_timer: LoadTimer) -> None:
    decode = load_timer.timed("decode", busy)
    decode(0.01)
    load_timer.begin()
    other = threading.Thread(target=decode, args=(0.05,))
    other.start()
    other.join()
    assert set(load_timer._amounts) <= {""}
    load_timer.end(1)


def test_a_batch_within_a_batch_is_a_part_of_it(load_timer: LoadTimer) -> None:
    assert load_timer.begin()
    assert not load_timer.begin()
    load_timer.end(1)
    assert load_timer.begin()
    load_timer.end(1)


def test_a_function_that_raises_is_timed_too(load_timer: LoadTimer) -> None:
    load_timer.begin()
    with pytest.raises(ValueError, match="invalid literal"):
        load_timer.timed("read", int)("x")
    load_timer.end(1)
    assert load_timer.sums()["read"] > 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([*LOAD_PARTS, "leave"]), max_size=30))
def test_parts_in_any_order_never_take_more_than_the_batch(tmp_path_factory, order) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("loads")
    load_timer = LoadTimer(SharedCounters(lambda: folder / "sums"), HotLines(folder / "lines.jsonl"))
    start = time.perf_counter()
    load_timer.begin()
    for word in order:
        load_timer.leave() if word == "leave" else load_timer.enter(word)
    load_timer.end(0)
    total = time.perf_counter() - start
    seconds = {part: load_timer.sums()[part] for part in LOAD_PARTS}
    load_timer.close()
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) <= total


def test_counters_that_fail_end_the_timing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    load_timer = LoadTimer(SharedCounters(lambda: tmp_path / "file" / "sums"), HotLines(tmp_path / "lines.jsonl"))
    with caplog.at_level(logging.WARNING):
        load_timer.begin()
        load_timer.end(1)
    assert not load_timer.begin()
    load_timer.close()
    assert "FileExistsError" in load_timer.guard.reason
    assert len([record for record in caplog.records if "timing of loader workers failed" in record.message]) == 1


# SharedCounters


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
