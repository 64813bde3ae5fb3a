"""Rates: growth per second, and nothing where nothing can be told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.rates import Rates


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def test_the_first_look_has_no_rate() -> None:
    assert Rates(clock(10.0).__next__).since({"read": 500}) == {}


def test_growth_by_time() -> None:
    rates = Rates(clock(10.0, 12.0).__next__)
    rates.since({"read": 500})
    assert rates.since({"read": 800}) == {"read": 150.0}


def test_a_counter_that_fell_is_absent_once() -> None:
    rates = Rates(clock(0.0, 1.0, 2.0, 3.0).__next__)
    rates.since({"read": 500, "write": 1})
    assert rates.since({"read": 7, "write": 2}) == {"write": 1.0}
    assert rates.since({"read": 17, "write": 2}) == {"read": 10.0, "write": 0.0}


def test_a_counter_that_is_new_waits_for_its_second_look() -> None:
    rates = Rates(clock(0.0, 1.0, 2.0).__next__)
    rates.since({})
    assert rates.since({"read": 5}) == {}
    assert rates.since({"read": 6}) == {"read": 1.0}


def test_no_time_no_rate() -> None:
    rates = Rates(clock(1.0, 1.0).__next__)
    rates.since({"read": 1})
    assert rates.since({"read": 2}) == {}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 10**12)), min_size=2, max_size=20))
def test_rates_add_up_to_the_growth(moves: list[tuple[float, int]]) -> None:
    times, counts = [0.0], [0]
    for seconds, grown in moves:
        times.append(times[-1] + seconds)
        counts.append(counts[-1] + grown)
    rates = Rates(iter([t + 1 for t in times]).__next__)
    told = [rates.since({"n": count}).get("n", 0.0) for count in counts]
    spans = [b - a for a, b in pairwise(times)]
    total = sum(rate * seconds for rate, seconds in zip(told[1:], spans, strict=True))
    assert abs(total - counts[-1]) <= 1e-6 * max(1, counts[-1])
