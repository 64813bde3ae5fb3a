"""CounterRates and ThrottledReading: rates of counters, and readings that are taken seldom."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.profiler.gauges.source import CounterRates, ThrottledReading


def clock(*times: float) -> Iterator[float]:
    return iter(times)


# Rates


def test_the_first_sample_has_no_rate() -> None:
    assert CounterRates(clock(10.0).__next__).update({"read": 500}) == {}


def test_a_rate_is_the_growth_by_the_time_between() -> None:
    rates = CounterRates(clock(10.0, 12.0).__next__)
    rates.update({"read": 500})
    assert rates.update({"read": 800}) == {"read": 150.0}


def test_a_counter_that_fell_is_absent_once() -> None:
    rates = CounterRates(clock(0.0, 1.0, 2.0, 3.0).__next__)
    rates.update({"read": 500, "write": 1})
    assert rates.update({"read": 7, "write": 2}) == {"write": 1.0}
    assert rates.update({"read": 17, "write": 2}) == {"read": 10.0, "write": 0.0}


def test_a_new_counter_has_a_rate_from_its_second_sample_on() -> None:
    rates = CounterRates(clock(0.0, 1.0, 2.0).__next__)
    rates.update({})
    assert rates.update({"read": 5}) == {}
    assert rates.update({"read": 6}) == {"read": 1.0}


def test_two_samples_at_the_same_time_have_no_rate() -> None:
    rates = CounterRates(clock(1.0, 1.0).__next__)
    rates.update({"read": 1})
    assert rates.update({"read": 2}) == {}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 10**12)), min_size=2, max_size=20))
def test_rates_add_up_to_the_growth(moves: list[tuple[float, int]]) -> None:
    times, counts = [0.0], [0]
    for seconds, growth in moves:
        times.append(times[-1] + seconds)
        counts.append(counts[-1] + growth)
    rates = CounterRates(iter([t + 1 for t in times]).__next__)
    per_second = [rates.update({"n": count}).get("n", 0.0) for count in counts]
    durations = [b - a for a, b in pairwise(times)]
    total = sum(rate * seconds for rate, seconds in zip(per_second[1:], durations, strict=True))
    assert abs(total - counts[-1]) <= 1e-6 * max(1, counts[-1])


# Throttled readings


def test_a_reading_is_taken_when_it_is_due() -> None:
    readings: list[int] = []

    def read() -> dict[str, float]:
        readings.append(1)
        return {"cpu.clock": float(len(readings))}

    throttled = ThrottledReading(read, seconds=5.0, clock=clock(0.0, 1.0, 4.9, 5.0, 6.0).__next__)
    assert [throttled.read() for _ in range(5)] == [{"cpu.clock": 1.0}, {}, {}, {"cpu.clock": 2.0}, {}]


def test_a_reading_that_is_empty_the_first_time_is_never_taken_again() -> None:
    readings: list[int] = []

    def read() -> dict[str, float]:
        readings.append(1)
        return {}

    throttled = ThrottledReading(read, clock=clock(0.0, 10.0, 20.0).__next__)
    assert [throttled.read() for _ in range(3)] == [{}, {}, {}]
    assert len(readings) == 1


def test_a_reading_that_is_empty_later_is_taken_again() -> None:
    readings = iter([{"a": 1.0}, {}, {"a": 3.0}])
    throttled = ThrottledReading(lambda: next(readings), clock=clock(0.0, 10.0, 20.0).__next__)
    assert [throttled.read() for _ in range(3)] == [{"a": 1.0}, {}, {"a": 3.0}]
