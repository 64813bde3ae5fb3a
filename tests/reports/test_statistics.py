from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from clearsight.core.errors import BadShape, BadValue, EmptyInput
from clearsight.core.statistics import Interval, wilson
from clearsight.reports.statistics import holm, macro_f1_interval, mcnemar, roc_auc_interval, share_interval


def test_roc_auc_interval_holds_the_true_area_in_95_of_100_samples() -> None:
    rng, area, inside = np.random.default_rng(0), 0.7602, 0  # of N(1, 1) against N(0, 1)
    for _ in range(400):
        positive, negative = rng.normal(1, 1, 60), rng.normal(0, 1, 90)
        estimate = float((positive[:, None] > negative).mean())
        low, high = roc_auc_interval(estimate, 60, 90)
        inside += low <= area <= high
    assert 0.91 <= inside / 400 <= 0.98


def test_roc_auc_of_one_class_has_the_widest_interval() -> None:
    assert roc_auc_interval(0.9, 0, 10) == (0, 1)


def test_macro_f1_interval_holds_the_score_and_shrinks_with_more_images() -> None:
    few = np.array([[30, 10], [5, 35]])
    low, high = macro_f1_interval(few)
    assert low < 0.8117 < high
    narrow = macro_f1_interval(few * 100)
    assert narrow.high - narrow.low < (high - low) / 5


def test_macro_f1_interval_is_the_same_twice_and_leaves_absent_classes_out() -> None:
    matrix = [[9, 1, 0], [2, 8, 0], [0, 0, 0]]
    assert macro_f1_interval(matrix) == macro_f1_interval(matrix)
    assert macro_f1_interval(matrix) == macro_f1_interval([row[:2] for row in matrix[:2]])


def test_macro_f1_interval_raises_for_other_arrays() -> None:
    with pytest.raises(BadShape, match="square"):
        macro_f1_interval([[1, 2]])
    with pytest.raises(EmptyInput):
        macro_f1_interval([[0, 0], [0, 0]])


def test_the_interval_of_a_share_is_that_of_its_hits() -> None:
    assert share_interval(0.75, 40) == wilson(30, 40)
    assert share_interval(None, 40) is None
    assert isinstance(share_interval(0.75, 40), Interval)


def test_mcnemar_is_the_binomial_test_of_the_images_on_which_models_differ() -> None:
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(2, 10) == mcnemar(10, 2)
    assert mcnemar(5, 0) == pytest.approx(2 / 2**5)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (1, 0)])
def test_mcnemar_of_no_difference_is_one(first: int, second: int) -> None:
    assert mcnemar(first, second) == 1.0


def test_mcnemar_is_exact_for_many_images() -> None:
    exact = 2 * Fraction(sum(math.comb(3000, hits) for hits in range(1401)), 2**3000)
    assert mcnemar(1600, 1400) == pytest.approx(float(exact), rel=1e-9)


def test_mcnemar_raises_for_negative_counts() -> None:
    with pytest.raises(BadValue, match="must not be negative"):
        mcnemar(-1, 3)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
