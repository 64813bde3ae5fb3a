"""Distribution: percentiles of many numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight_sagemaker.distribution import Distribution, round_digits


def test_percentiles() -> None:
    box = Distribution.of(np.arange(101.0))
    assert box is not None
    assert box.to_json() == {"max": 100, "p99": 99, "p95": 95, "p75": 75, "p50": 50, "p25": 25, "p5": 5, "min": 0}
    assert list(box.summary()) == ["max", "p99", "p95", "p50", "min"]


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_without_a_finite_number_there_is_none(values: list[float]) -> None:
    assert Distribution.of(values) is None


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_in_order(values: list[float]) -> None:
    box = Distribution.of(values)
    assert box is not None
    points = [*box.to_json().values()]
    assert points == sorted(points, reverse=True)
    assert points[0] == round_digits(max(values))
