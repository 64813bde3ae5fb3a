"""McNemar's exact test and Holm's adjustment, against values worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from clearsight.core.errors import BadValue
from clearsight.reports.paired import holm, mcnemar


def test_it_is_the_binomial_test_of_the_differing_pictures() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(2, 10) == mcnemar(10, 2)
    assert mcnemar(5, 0) == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (1, 0)])
def test_no_difference_is_chance(first: int, second: int) -> None:
    assert mcnemar(first, second) == 1.0


def test_many_pictures_are_as_exact_as_few() -> None:
    exact = 2 * Fraction(sum(math.comb(3000, hits) for hits in range(1401)), 2**3000)
    assert mcnemar(1600, 1400) == pytest.approx(float(exact), rel=1e-9)


def test_counts_are_not_negative() -> None:
    with pytest.raises(BadValue, match="not negative"):
        mcnemar(-1, 3)


def test_holm_multiplies_the_least_most_and_keeps_order() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
