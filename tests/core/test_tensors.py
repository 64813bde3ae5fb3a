"""Schedules of saving: when a step is due, and how many points a plan gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight.core.tensors import SaveSchedule


@given(
    every=st.integers(0, 60),
    steps=st.frozensets(st.integers(1, 300), max_size=5),
    start=st.integers(1, 80),
    length=st.one_of(st.none(), st.integers(0, 200)),
    planned=st.integers(0, 250),
)
def test_points_counts_the_steps_that_are_due(
    every: int, steps: frozenset[int], start: int, length: int | None, planned: int
) -> None:
    schedule = SaveSchedule(every=every, steps=steps, start=start, end=None if length is None else start + length)
    assert schedule.points(planned) == sum(schedule.due(step) for step in range(1, planned + 1))


def test_the_first_step_is_due_however_long_the_interval() -> None:
    assert [step for step in range(1, 60) if SaveSchedule(every=500).due(step)] == [1]


def test_named_steps_do_not_switch_the_interval_off() -> None:
    schedule = SaveSchedule(every=10, steps=frozenset({3}))
    assert [step for step in range(1, 21) if schedule.due(step)] == [1, 3, 10, 20]


def test_zero_saves_the_named_steps_alone() -> None:
    schedule = SaveSchedule(every=0, steps=frozenset({3, 5}))
    assert [step for step in range(1, 21) if schedule.due(step)] == [3, 5]


@pytest.mark.parametrize("wrong", [{"every": -1}, {"start": 0}, {"start": 5, "end": 4}])
def test_what_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadValue):
        SaveSchedule(**wrong)
