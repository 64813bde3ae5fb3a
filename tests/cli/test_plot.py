"""A plot of characters fits its size, labels its axes and draws every finite value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.cli.plot import plot


def test_a_falling_line_in_ascii() -> None:
    assert plot([(1, 3), (2, 2), (3, 1), (4, 0)], 20, 6, unicode=False) == [
        "3 |***",
        "  |   *****",
        "  |        ******",
        "0 |              ***",
        "  +-----------------",
        "   1               4",
    ]


def test_braille_dots_are_finer() -> None:
    lines = plot([(0, 0.0), (1, 1.0)], 20, 6)
    assert lines[0].startswith("1 │")
    assert lines[3].startswith("0 │⣀")
    assert lines[-2].startswith("  └─")


@given(
    values=st.lists(st.floats(), min_size=1, max_size=40),
    width=st.integers(20, 200),
    height=st.integers(4, 40),
    unicode=st.booleans(),
)
def test_it_fits_whatever_the_values_are(values: list[float], width: int, height: int, unicode: bool) -> None:
    lines = plot(list(enumerate(values, start=1)), width, height, unicode=unicode)
    assert len(lines) <= height
    assert max(map(len, lines)) <= max(width, 40)
    if not unicode:
        assert "".join(lines).isascii()


def test_a_constant_is_a_line_in_the_middle_with_one_number() -> None:
    lines = plot([(1, 3.0), (9, 3.0)], 20, 7, unicode=False)
    assert [line.count("3") for line in lines[:5]] == [0, 0, 1, 0, 0]
    assert lines[2].count("*") == 17


def test_a_gap_stays_a_gap() -> None:
    lines = plot(list(enumerate([1, 1, math.nan, 1, 1], start=1)), 23, 5, unicode=False)
    assert lines[1] == "1 |******        ******"


def test_without_finite_values_it_is_one_line() -> None:
    assert plot([(1, math.nan), (2, math.inf)], 40, 8) == ["no finite values"]
    assert plot([], 40, 8) == ["no finite values"]


def test_labels_of_near_values_differ() -> None:
    lines = plot([(1, 1.0000001), (2, 1.0000002)], 60, 6)
    assert lines[0].split()[0] != lines[3].split()[0]


@pytest.mark.parametrize("steps", [[1, 100_000], [7]])
def test_the_axis_has_the_first_and_the_last_step(steps: list[int]) -> None:
    last = plot([(step, 1.0) for step in steps], 60, 8)[-1]
    assert last.split() == [str(steps[0]), str(steps[-1])][: len(last.split())]
    assert str(steps[0]) in last
