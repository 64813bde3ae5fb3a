"""A temperature is fitted as far as the validation images support it, and no further."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.bundle import calibration_text
from clearsight.core.errors import EmptyInput
from clearsight.core.probabilities import calibrated, confidence, softmax
from clearsight.training import metrics
from clearsight.training.calibration import calibrate


def labelled(n: int, classes: int = 5, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (n, classes) and labels that are drawn from their softmax: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    return logits, np.array([rng.choice(classes, p=row) for row in softmax(logits)])


def test_many_images_undo_too_much_confidence() -> None:
    logits, labels = labelled(4000)
    found = calibrate(logits * 4, labels)
    assert found.temperature == pytest.approx(4, rel=0.1)
    assert found.images == 4000
    assert found.errors == (logits.argmax(1) != labels).sum()
    assert found.loss_after == pytest.approx(metrics.cross_entropy(logits, labels), rel=0.01)
    assert found.loss_after < found.loss_before


def test_too_little_confidence_is_raised_where_it_is_not_lowest() -> None:
    logits, labels = labelled(4000)
    weak = logits / 4
    found = calibrate(weak, labels)
    served = calibrated(weak, found.temperature, found.to_json())
    before, after = confidence(weak), confidence(served)
    assert found.temperature < 1
    assert (after > before)[before > found.low * 1.001].all()
    assert (after < before)[before < found.low * 0.999].all(), "images of other classes are mostly among these"
    assert (served.argmax(1) == weak.argmax(1)).all()
    best = metrics.cross_entropy(logits, labels)
    gained = (found.loss_before - found.loss_after) / (found.loss_before - best)
    assert 0.5 < gained < 1


def test_bundles_without_the_confidences_divide_all_logits() -> None:
    logits, _ = labelled(10)
    np.testing.assert_array_equal(calibrated(logits, 0.5, {"images": 10.0}), logits / 0.5)


@given(st.integers(1, 40), st.integers(2, 6), st.floats(0.05, 20), st.integers(0, 2**32 - 1))
def test_calibration_keeps_the_order_of_the_classes(n: int, classes: int, temperature: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(n, classes)) * 5
    served = calibrated(logits, temperature, {"low": 0.4, "typical": 0.4})
    np.testing.assert_array_equal(served.argsort(1), logits.argsort(1))


def test_calibrated_probabilities_stay_as_they_are() -> None:
    kept = sum(calibrate(*labelled(500, seed=seed)).temperature == 1.0 for seed in range(40))
    assert kept >= 26, "the interval of 80 % confidence holds the true temperature, 1, in about 32 of 40"


@given(st.integers(1, 200), st.integers(2, 6), st.floats(0.1, 30), st.integers(0, 2**32 - 1))
def test_without_errors_confidence_is_never_raised(n: int, classes: int, scale: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(n, classes)) * scale
    found = calibrate(logits, logits.argmax(axis=1))
    assert found.errors == 0
    assert found.temperature == 1.0


def test_images_that_may_have_been_trained_on_never_raise_confidence() -> None:
    logits, labels = labelled(4000)
    assert calibrate(logits / 4, labels).temperature < 0.5
    found = calibrate(logits / 4, labels, may_be_trained=True)
    assert found.temperature == 1
    words = "not calibrated: the weights may have been trained on the 4,000 validation images"
    assert calibration_text(found.temperature, found.to_json()) == words
    assert calibrate(logits * 4, labels, may_be_trained=True).temperature == calibrate(logits * 4, labels).temperature


def test_the_confidence_of_a_model_that_is_mostly_wrong_is_never_raised() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(1000, 10)) * 0.01, rng.integers(10, size=1000)
    labels[:300] = logits[:300].argmax(1)  # better than chance, so that larger logits would have a smaller loss
    assert metrics.cross_entropy(logits * 10, labels) < metrics.cross_entropy(logits, labels) - 0.01
    assert calibrate(logits, labels).temperature == 1


@given(st.integers(1, 60), st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_the_loss_never_rises_on_the_images_it_was_fitted_on(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = calibrate(rng.normal(size=(n, classes)) * 3, rng.integers(classes, size=n))
    assert found.loss_after <= found.loss_before
    assert 0.05 <= found.temperature <= 20


def test_few_images_move_the_temperature_less_than_many() -> None:
    """Both samples have the same best temperature, as each image of the first stands 20 times in the second."""
    logits, labels = labelled(12, seed=3)
    few, many = calibrate(logits * 4, labels), calibrate(np.tile(logits * 4, (20, 1)), np.tile(labels, 20))
    assert 1 < few.temperature < many.temperature


def test_logits_of_any_size_are_calibrated() -> None:
    logits, labels = labelled(100)
    found = calibrate(logits * 1e4, labels)
    assert found.temperature == pytest.approx(20, rel=1e-3)
    assert np.isfinite([found.loss_before, found.loss_after]).all()


def test_no_images_are_refused() -> None:
    with pytest.raises(EmptyInput):
        calibrate(np.zeros((0, 2)), np.zeros(0, dtype=int))
