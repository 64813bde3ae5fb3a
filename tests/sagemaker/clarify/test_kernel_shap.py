"""Kernel SHAP: exact where all coalitions are asked about, additive always, and the same for the same seed."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.clarify.kernel_shap import coalitions, shapley_values


def scores_of(matrix: npt.NDArray[np.float64], mask: npt.NDArray[np.float64]) -> float:
    """Return the score of a game in which features help and hinder each other."""
    return float(mask @ matrix @ mask + np.sin(mask.sum()))


def test_all_coalitions_give_the_shapley_values_of_the_definition() -> None:
    features = 5
    matrix = np.random.default_rng(1).normal(size=(features, features))
    masks, weights = coalitions(features, 1000, np.random.default_rng(0))
    assert masks.shape == (2**features - 2, features)
    scores = np.array([[scores_of(matrix, mask.astype(float))] for mask in masks])
    hidden, shown = (np.array([scores_of(matrix, np.full(features, value))]) for value in (0.0, 1.0))
    expected = np.zeros(features)
    orders = [*permutations(range(features))]
    for order in orders:
        mask = np.zeros(features)
        for feature in order:
            before = scores_of(matrix, mask)
            mask[feature] = 1
            expected[feature] += (scores_of(matrix, mask) - before) / len(orders)
    assert np.allclose(shapley_values(masks, weights, scores, hidden, shown)[:, 0], expected)


@given(features=st.integers(2, 40), most=st.integers(2, 300), seed=st.integers(0, 100))
def test_coalitions_are_different_in_number_bounded_and_never_empty_or_full(
    features: int, most: int, seed: int
) -> None:
    masks, weights = coalitions(features, most, np.random.default_rng(seed))
    assert 2 <= len(masks) <= most
    assert len({mask.tobytes() for mask in masks}) == len(masks)
    assert masks.any(axis=1).all()
    assert not masks.all(axis=1).any()
    assert np.isclose(weights.sum(), 1)
    again, same = coalitions(features, most, np.random.default_rng(seed))
    assert (again == masks).all()
    assert (same == weights).all()


@given(features=st.integers(1, 25), most=st.integers(60, 200), seed=st.integers(0, 50))
def test_contributions_add_up_and_are_exact_for_sums(features: int, most: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    effects = generator.normal(size=(features, 3))
    masks, weights = (
        coalitions(features, most, generator) if features > 1 else (np.zeros((0, 1), dtype=np.bool_), np.zeros(0))
    )
    hidden = np.ones(3)
    values = shapley_values(masks, weights, masks @ effects + hidden, hidden, effects.sum(axis=0) + hidden)
    assert np.allclose(values.sum(axis=0), effects.sum(axis=0))
    assert np.allclose(values, effects, atol=1e-8)
