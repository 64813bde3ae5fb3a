"""Reader: what the making of batches costs, part by part."""

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
def reader(tmp_path: Path) -> Iterator[LoadTimer]:
    made = LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "lines.jsonl"))
    yield made
    made.close()


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def test_an_inner_part_is_not_the_outer_ones(reader: LoadTimer) -> None:
    decode = reader.timed("decode", busy)
    augment = reader.timed("augment", lambda: (decode(0.02), busy(0.01)))
    assert reader.begin()
    augment()
    reader.end(4)
    sums = reader.sums()
    assert sums["decode"] >= 0.02
    assert 0.01 <= sums["augment"] < sums["decode"] + 0.01
    assert sums["images"] == 4


def test_what_no_known_function_does_is_decoding_where_no_name_speaks(reader: LoadTimer) -> None:
    reader.begin()
    busy(0.02)
    reader.end(1)
    assert reader.sums()["decode"] >= 0.02


def augment_by_hand() -> None:
    busy(0.2)


def test_what_no_known_function_does_goes_by_its_name(reader: LoadTimer) -> None:
    reader.begin()
    augment_by_hand()
    reader.end(1)
    assert reader.sums()["augment"] > 0.15


def test_outside_of_batches_and_on_other_threads_nothing_is_timed(reader: LoadTimer) -> None:
    decode = reader.timed("decode", busy)
    decode(0.01)
    reader.begin()
    other = threading.Thread(target=decode, args=(0.05,))
    other.start()
    other.join()
    assert set(reader._spent) <= {""}
    reader.end(1)


def test_a_batch_within_a_batch_is_a_part_of_it(reader: LoadTimer) -> None:
    assert reader.begin()
    assert not reader.begin()
    reader.end(1)
    assert reader.begin()
    reader.end(1)


def test_a_function_that_raises_raises_and_is_timed(reader: LoadTimer) -> None:
    reader.begin()
    with pytest.raises(ValueError, match="invalid literal"):
        reader.timed("read", int)("x")
    reader.end(1)
    assert reader.sums()["read"] > 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([*LOAD_PARTS, "leave"]), max_size=30))
def test_parts_in_any_order_never_take_more_than_there_was(tmp_path_factory, order) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("reader")
    reader = LoadTimer(SharedCounters(lambda: folder / "sums"), HotLines(folder / "lines.jsonl"))
    began = time.perf_counter()
    reader.begin()
    for word in order:
        reader.leave() if word == "leave" else reader.enter(word)
    reader.end(0)
    took = time.perf_counter() - began
    spent = {part: reader.sums()[part] for part in LOAD_PARTS}
    reader.close()
    assert all(seconds >= 0 for seconds in spent.values())
    assert sum(spent.values()) <= took


def test_a_ledger_that_fails_ends_the_timing_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    reader = LoadTimer(SharedCounters(lambda: tmp_path / "file" / "sums"), HotLines(tmp_path / "lines.jsonl"))
    with caplog.at_level(logging.WARNING):
        reader.begin()
        reader.end(1)
    assert not reader.begin()
    reader.close()
    assert "readers: " in reader.failure
    assert len([record for record in caplog.records if "readers" in record.message]) == 1
