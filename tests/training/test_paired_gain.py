"""The paired gain: its value and error against formulas and simulation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.training import metrics
from clearsight.training.paired_gain import PairedGain, paired_gain

Logits = npt.NDArray[np.float32]


def logits(predicted: list[int], classes: int = 2) -> Logits:
    """Return logits (N, classes) whose largest is that of the predicted class."""
    return np.eye(classes, dtype=np.float32)[predicted]


def noisy(labels: npt.NDArray[np.int64], noise: float, seed: int, classes: int = 2) -> Logits:
    """Return logits that favour the true class, less so with more noise."""
    draws = np.random.default_rng(seed).normal(0, noise, (len(labels), classes))
    return (np.eye(classes)[labels] + draws).astype(np.float32)


def test_only_images_on_which_the_two_differ_count() -> None:
    labels = np.zeros(100, np.int64)
    before = logits([1] * 9 + [0] * 91)  # wrong on the first nine
    after = logits([0] * 7 + [1] * 2 + [1] * 2 + [0] * 89)  # repairs seven of them and loses two others
    gain = paired_gain(before, after, labels, "accuracy")
    assert (gain.value, gain.error, gain.images) == (pytest.approx(0.05), pytest.approx(0.03), 100)
    assert gain.is_clear
    assert not paired_gain(after, before, labels, "accuracy").is_clear


@pytest.mark.parametrize(
    ("right_now", "wrong_now", "clear"), [(1, 0, False), (2, 0, True), (3, 1, False), (5, 1, True)]
)
def test_a_gain_is_clear_above_one_standard_error(right_now: int, wrong_now: int, clear: bool) -> None:
    labels = np.zeros(20, np.int64)
    before = logits([1] * right_now + [0] * (20 - right_now))
    after = logits([0] * (20 - wrong_now) + [1] * wrong_now)
    gain = paired_gain(before, after, labels, "accuracy")
    assert gain.is_clear is clear
    assert gain.value * 20 == pytest.approx(right_now - wrong_now)


def test_equal_predictions_have_no_gain() -> None:
    labels = np.arange(6) % 2
    same = noisy(labels, 1.0, 0)
    for score in ("accuracy", "loss", "macro_f1", "roc_auc"):
        gain = paired_gain(same, same, labels, score)
        assert (gain.value, gain.error, gain.is_clear) == (0, 0, False), score


def test_a_loss_gains_by_falling() -> None:
    labels = np.arange(200) % 2
    before, after = noisy(labels, 2.0, 1), noisy(labels, 0.5, 2)
    gain = paired_gain(before, after, labels, "loss")
    assert gain.value == pytest.approx(metrics.cross_entropy(before, labels) - metrics.cross_entropy(after, labels))
    assert gain.is_clear


@pytest.mark.parametrize("score", ["accuracy", "loss", "macro_f1", "roc_auc"])
def test_the_error_is_the_spread_over_samples_of_images(score: str) -> None:
    """The gain of 300 fresh samples of 150 images varies by as much as the errors of eight of them say."""
    labels = [np.random.default_rng(seed).integers(0, 2, 150) for seed in range(300)]
    pairs = [(noisy(each, 1.5, 2 * seed), noisy(each, 1.0, 2 * seed + 1)) for seed, each in enumerate(labels)]
    scores = [[metrics.scores(part, each)[score] for part in pair] for pair, each in zip(pairs, labels, strict=True)]
    errors = [paired_gain(*pair, each, score).error for pair, each in zip(pairs[:8], labels, strict=False)]
    assert np.mean(errors) == pytest.approx(np.std([after - before for before, after in scores]), rel=0.2)


def test_a_score_that_the_images_do_not_have_is_the_accuracy() -> None:
    labels = np.zeros(10, np.int64)  # one class: no ROC curve
    assert paired_gain(noisy(labels, 1, 0), noisy(labels, 1, 1), labels, "roc_auc").score == "accuracy"


def test_a_score_that_a_part_of_the_images_does_not_have_is_never_clear() -> None:
    labels = np.array([0, 0, 0, 1])
    before, after = logits([0, 0, 0, 0]), logits([0, 0, 0, 1])
    gain = paired_gain(before, after, labels, "roc_auc")
    assert (gain.error, gain.is_clear) == (math.inf, False)


def test_shapes_are_checked() -> None:
    with pytest.raises(BadShape):
        paired_gain(logits([0, 1]), logits([0, 1]), np.zeros(3, np.int64), "accuracy")
    with pytest.raises(BadShape):
        paired_gain(logits([0]), logits([0, 1]), np.zeros(2, np.int64), "accuracy")
    with pytest.raises(EmptyInput):
        paired_gain(logits([]), logits([]), np.zeros(0, np.int64), "accuracy")


def test_json_gives_it_back() -> None:
    gain = PairedGain(score="accuracy", value=0.05, error=0.03, images=100)
    assert PairedGain.from_json(gain.to_json()) == gain
