"""Seldom: a costly reading is taken when it is due, and given up where there is nothing to read."""

from __future__ import annotations

from clearsight.profiler.gauges.throttle import ThrottledReading


def test_taken_when_due() -> None:
    times = iter([0.0, 1.0, 4.9, 5.0, 6.0])
    taken: list[int] = []

    def take() -> dict[str, float]:
        taken.append(1)
        return {"cpu.clock": float(len(taken))}

    seldom = ThrottledReading(take, seconds=5.0, clock=times.__next__)
    assert [seldom.read() for _ in range(5)] == [{"cpu.clock": 1.0}, {}, {}, {"cpu.clock": 2.0}, {}]


def test_nothing_the_first_time_is_nothing_ever() -> None:
    taken: list[int] = []
    times = iter([0.0, 10.0, 20.0])

    def take() -> dict[str, float]:
        taken.append(1)
        return {}

    seldom = ThrottledReading(take, clock=times.__next__)
    assert [seldom.read() for _ in range(3)] == [{}, {}, {}]
    assert len(taken) == 1


def test_nothing_later_is_only_a_gap() -> None:
    answers = iter([{"a": 1.0}, {}, {"a": 3.0}])
    times = iter([0.0, 10.0, 20.0])
    seldom = ThrottledReading(lambda: next(answers), clock=times.__next__)
    assert [seldom.read() for _ in range(3)] == [{"a": 1.0}, {}, {"a": 3.0}]
