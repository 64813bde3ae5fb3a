"""Scores agree with scikit-learn and with their definitions; those of a stack are those of each head."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.core.probabilities import softmax
from clearsight.training import metrics


@st.composite
def logits_with_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    classes, n = draw(st.integers(2, 7)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.normal(size=(n, classes)) * 3, rng.integers(classes, size=n)


@given(logits_with_labels())
def test_agree_with_scikit_learn(logits_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = logits_and_labels
    classes, predicted = logits.shape[1], logits.argmax(axis=1)
    found = metrics.scores(logits, labels)
    table = metrics.confusion(predicted, labels, classes)
    each = metrics.per_class(table)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found["loss"] == pytest.approx(reference.log_loss(labels, softmax(logits), labels=range(classes)), rel=1e-6)
    assert (table == reference.confusion_matrix(labels, predicted, labels=range(classes))).all()
    expected = reference.precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    for result, expected_result in zip((each.precision, each.recall, each.f1, each.support), expected, strict=True):
        assert np.allclose(result, expected_result)
    present = np.unique(labels)
    assert found["macro_f1"] == pytest.approx(
        reference.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    )
    for k in (1, 2, 5):
        in_top = (np.argsort(-logits, axis=1)[:, :k] == labels[:, None]).any(axis=1).mean()
        assert metrics.top_k(logits, labels, k) == pytest.approx(in_top)


def test_roc_auc_needs_both_classes() -> None:
    assert metrics.roc_auc(np.array([0.1, 0.9]), np.array([0, 1])) == 1.0
    assert metrics.roc_auc(np.array([0.1, 0.9]), np.array([1, 1])) is None
    assert "roc_auc" not in metrics.scores(np.eye(2), np.array([1, 1]))


def test_a_calibrated_model_has_no_calibration_error() -> None:
    """Of 1,000 predictions with a confidence of 0.8, 800 are correct."""
    probabilities = np.tile([0.8, 0.2], (1000, 1))
    labels = np.array([0] * 800 + [1] * 200)
    assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-9)
    assert metrics.expected_calibration_error(probabilities, 1 - labels) == pytest.approx(0.6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadShape):
        metrics.accuracy(np.zeros((3, 2)), np.zeros(4, dtype=int))
    with pytest.raises(EmptyInput):
        metrics.accuracy(np.zeros((0, 2)), np.zeros(0, dtype=int))


@st.composite
def stacked_logits_with_labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(K, N, C) logits, often rounded so that many tie or sure enough that probabilities do, and (N,) labels."""
    heads, n, classes = draw(st.integers(1, 5)), draw(st.integers(1, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(size=(heads, n, classes)) * draw(st.sampled_from([1.0, 3.0, 50.0, 1e30]))
    if draw(st.booleans()):
        logits = logits.round()
    return logits.astype(np.float32), rng.integers(draw(st.integers(1, classes)), size=n)


@settings(deadline=None)  # the first example pays for the import of scikit-learn
@given(stacked_logits_with_labels())
def test_each_head_has_the_scores_that_it_has_alone(logits_and_labels: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = logits_and_labels
    for found, head in zip(metrics.stacked_scores(logits, labels), logits, strict=True):
        assert list(found) == list(metrics.scores(head, labels))
        assert found == pytest.approx(metrics.scores(head, labels), rel=1e-9, abs=1e-12)


def test_ties_count_half() -> None:
    """A head with equal logits for all images has an area of one half; one tie in two pairs counts half of a pair."""
    labels = np.array([0, 1, 1])
    same = np.zeros((3, 2))
    half = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    assert [found["roc_auc"] for found in metrics.stacked_scores(np.stack([same, half]), labels)] == [0.5, 0.75]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_head_with_nan_logits_has_nan_scores_and_changes_no_other(wrong: float) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 20, 2)).astype(np.float32), np.arange(20) % 2
    logits[1, 4, 0] = wrong
    first, broken, last = metrics.stacked_scores(logits, labels)
    assert set(broken) == set(first)
    assert all(np.isnan(value) for value in broken.values())
    assert [first, last] == [pytest.approx(metrics.scores(logits[head], labels)) for head in (0, 2)]


def test_nan_logits_of_all_heads_are_no_error() -> None:
    found = metrics.stacked_scores(np.full((2, 6, 3), np.nan), np.arange(6) % 3)
    assert len(found) == 2
    assert all(np.isnan(value) for scores in found for value in scores.values())


def test_stacked_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadShape):
        metrics.stacked_scores(np.zeros((2, 3, 2)), np.zeros(4, dtype=int))
    with pytest.raises(EmptyInput):
        metrics.stacked_scores(np.zeros((2, 0, 2)), np.zeros(0, dtype=int))
