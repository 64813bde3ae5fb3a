"""Spread of contradicted labels: even where labels are random, uneven where classes look alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.view import PredictionTable
from clearsight.debugger.analysis.label_spread import label_spread

IMAGES, COUNT = 2000, 6


def table(labels: np.ndarray, predictions: np.ndarray, seed: int = 0) -> PredictionTable:
    rng, size = np.random.default_rng(seed), len(labels)
    confidence, places = rng.random(size), np.arange(size)
    epochs = np.ones(size, np.int64)
    return PredictionTable(places + 1, epochs, places, labels, predictions, confidence, 1 - confidence, places)


def random_labels(seed: int, shares: list[float] | None = None) -> PredictionTable:
    """Return predictions that are right of the true class, and labels of which half are drawn anew."""
    rng = np.random.default_rng(seed)
    true = rng.choice(COUNT, IMAGES, p=shares)
    drawn = rng.choice(COUNT, IMAGES, p=shares)
    return table(np.where(rng.random(IMAGES) < 0.5, drawn, true), true, seed)


def similar_classes(seed: int) -> PredictionTable:
    """Return predictions that are the class or, half of the time, its neighbour."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, COUNT, IMAGES)
    return table(true, np.where(rng.random(IMAGES) < 0.5, true ^ 1, true), seed)


@pytest.mark.parametrize("seed", range(5))
def test_random_labels_are_spread_over_all_classes(seed: int) -> None:
    spread = label_spread([random_labels(seed)], COUNT)
    assert spread.evenness == pytest.approx(1, abs=4 * spread.error)
    assert spread.error < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_random_labels_of_uneven_classes_are_as_even(seed: int) -> None:
    spread = label_spread([random_labels(seed, [0.5, 0.2, 0.1, 0.1, 0.05, 0.05])], COUNT)
    assert spread.evenness == pytest.approx(1, abs=4 * spread.error)


def test_labels_of_similar_classes_name_their_neighbour() -> None:
    assert label_spread([similar_classes(0)], COUNT).evenness == 0


def test_blocks_add_up() -> None:
    parts = [label_spread([random_labels(seed)], COUNT) for seed in (0, 1)]
    whole = label_spread([random_labels(0), random_labels(1)], COUNT)
    assert whole.rare == sum(part.rare for part in parts)
    assert whole.images == sum(part.images for part in parts)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=60),
    st.integers(5, 7),
)
def test_any_predictions_have_a_spread(pairs: list[tuple[int, int]], count: int) -> None:
    labels, predictions = np.array(pairs, np.int64).reshape(-1, 2).T
    spread = label_spread([table(labels, predictions)], count)
    assert 0 <= spread.rare <= spread.images <= len(pairs)
    assert spread.evenness >= 0
    assert spread.error >= 0
