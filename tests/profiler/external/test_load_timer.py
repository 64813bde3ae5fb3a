"""LoadTimer: time that the making of batches takes, part by part."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.profile import LOAD_PARTS
from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.shared_counters import SharedCounters


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
