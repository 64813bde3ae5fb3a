"""The scores of a stack are the scores of each head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.training import metrics
from clearsight.training.heads.scores import stacked_scores


@st.composite
def logits_with_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(K, N, C) logits, often rounded so that many tie or sure enough that probabilities do, and (N,) labels."""
    heads, n, classes = draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(size=(heads, n, classes)) * draw(st.sampled_from([1.0, 3.0, 50.0, 1e30]))
    if draw(st.booleans()):
        logits = logits.round()
    return logits.astype(np.float32), rng.integers(draw(st.integers(1, classes)), size=n)


@settings(deadline=None)  # the first example pays for the import of scikit-learn
@given(logits_with_labels())
def test_each_head_has_the_scores_that_it_has_alone(logits_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = logits_and_labels
    for found, head in zip(stacked_scores(logits, labels), logits, strict=True):
        assert list(found) == list(metrics.scores(head, labels))
        assert found == pytest.approx(metrics.scores(head, labels), rel=1e-9, abs=1e-12)


def test_ties_count_half() -> None:
    """A head with equal logits for all images has an area of one half; one tie in two pairs counts half of a pair."""
    labels = np.array([0, 1, 1])
    same = np.zeros((3, 2))
    half = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    assert [found["roc_auc"] for found in stacked_scores(np.stack([same, half]), labels)] == [0.5, 0.75]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_head_with_nan_logits_has_nan_scores_and_changes_no_other(wrong: float) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 20, 2)).astype(np.float32), np.arange(20) % 2
    logits[1, 4, 0] = wrong
    first, broken, last = stacked_scores(logits, labels)
    assert set(broken) == set(first)
    assert all(np.isnan(value) for value in broken.values())
    assert [first, last] == [pytest.approx(metrics.scores(logits[head], labels)) for head in (0, 2)]


def test_nan_logits_of_all_heads_are_no_error() -> None:
    found = stacked_scores(np.full((2, 6, 3), np.nan), np.arange(6) % 3)
    assert len(found) == 2
    assert all(np.isnan(value) for scores in found for value in scores.values())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadShape):
        stacked_scores(np.zeros((2, 3, 2)), np.zeros(4, dtype=int))
    with pytest.raises(EmptyInput):
        stacked_scores(np.zeros((2, 0, 2)), np.zeros(0, dtype=int))
