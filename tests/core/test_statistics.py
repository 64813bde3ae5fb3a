"""The interval of a share is Wilson's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight.core.statistics import wilson


def test_wilson_agrees_with_the_literature() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


@given(st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    low, high = wilson(*case)
    assert 0 <= low <= (case[0] / case[1] if case[1] else 0.5) <= high <= 1


def test_no_trials_know_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize("case", [(3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(case: tuple[int, int]) -> None:
    with pytest.raises(BadValue, match="0 <= successes <= trials"):
        wilson(*case)
