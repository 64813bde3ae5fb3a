"""Labels and copies judged by features: ridge on folds, confident learning, neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from clearsight.core.errors import BadShape
from clearsight.core.label_check import LabelCheck
from clearsight.data.label_errors import (
    FOLDS,
    Floats,
    Ints,
    check_labels_by_features,
    confident_errors,
    held_out_scores,
    pooled,
    ridge_scores,
    similar_pairs,
    stratified_folds,
)

NAMES = tuple("abcdef")


def clusters(
    count: int = 300, classes: int = 6, spread: float = 0.5, width: int = 32, seed: int = 0
) -> tuple[Floats, Ints]:
    """Return features (N, F) around one random centre a class, and the true labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.normal(0, 1, (classes, width))[labels] + rng.normal(0, spread, (count, width)), labels


def exchanged(labels: Ints, share: float, classes: int = 6) -> tuple[Ints, set[int]]:
    rng = np.random.default_rng(1)
    rows = rng.permutation(len(labels))[: round(share * len(labels))]
    wrong = labels.copy()
    wrong[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return wrong, set(rows.tolist())


def checked(features: Floats, labels: Ints) -> LabelCheck:
    found = check_labels_by_features(features, labels, [str(row) for row in range(len(labels))], NAMES)
    assert found is not None
    return found


@given(st.integers(2, 12), st.integers(1, 12), st.integers(1, 4), st.floats(0.1, 100), st.integers(0, 99))
def test_ridge_equals_that_of_scikit_learn(n: int, width: int, targets: int, penalty: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, others = rng.normal(3, 2, (n, width)), rng.normal(1, 1, (n, targets)), rng.normal(0, 1, (5, width))
    expected = Ridge(alpha=penalty).fit(x, y).predict(others).reshape(5, targets)
    np.testing.assert_allclose(ridge_scores(x, y, others, penalty), expected, rtol=1e-6, atol=1e-8)


def test_ridge_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(BadShape, match="do not fit"):
        ridge_scores(np.zeros((3, 2)), np.zeros((4, 1)), np.zeros((1, 2)), 1.0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_each_fold_has_as_many_of_each_class_give_or_take_one(values: list[int]) -> None:
    labels = np.array(values, np.int64)
    folds = stratified_folds(labels)
    assert (folds == stratified_folds(labels)).all()
    for label in np.unique(labels):
        counts = np.bincount(folds[labels == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=20)
@given(st.integers(8, 40), st.integers(2, 4), st.integers(0, 99))
def test_held_out_scores_of_an_image_sum_to_one_and_do_not_see_its_label(n: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(0, 1, (n, 6)), np.arange(n) % classes
    scores = held_out_scores(features, labels, classes)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-9)
    moved = features.copy()
    moved[0] += 100  # of its own fold alone
    same_fold = stratified_folds(labels) == stratified_folds(labels)[0]
    unchanged = same_fold & (np.arange(n) != 0)
    np.testing.assert_allclose(held_out_scores(moved, labels, classes)[unchanged], scores[unchanged], atol=1e-9)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_exchanged_labels_are_noise_and_most_are_named(share: float) -> None:
    features, labels = clusters()
    wrong, rows = exchanged(labels, share)
    found = checked(features, wrong)
    assert found.noisy
    assert abs(found.share - share) < 0.1
    named = {int(suspect.path) for suspect in found.suspects}
    assert len(named & rows) > 0.9 * len(rows)
    assert all(suspect.likely == NAMES[labels[int(suspect.path)]] for suspect in found.suspects[:20])


def test_clean_labels_are_no_noise() -> None:
    assert not checked(*clusters()).noisy


def test_classes_that_are_confused_in_pairs_are_no_noise() -> None:
    features, labels = clusters(600)
    twins = clusters(600)[0][np.arange(600) - labels + labels // 2 * 2]  # of classes 2k and 2k + 1 those of 2k
    found = checked(twins, labels)
    assert found.share > found.limit  # the share alone would call it noise
    assert not found.noisy
    assert not np.array_equal(twins, features)


def test_two_classes_that_are_hard_to_tell_apart_are_no_noise_and_exchanged_ones_are() -> None:
    features, labels = clusters(600, classes=2, spread=2.5, width=16)
    hard = check_labels_by_features(features, labels, [""] * 600, "ab")
    noisy = check_labels_by_features(features, exchanged(labels, 0.4, classes=2)[0], [""] * 600, "ab")
    assert hard is not None
    assert noisy is not None
    assert hard.accuracy < 0.95
    assert (hard.noisy, noisy.noisy) == (False, True)


def test_few_images_give_suspects_and_no_verdict() -> None:
    features, labels = clusters(60)
    found = checked(features, exchanged(labels, 0.4)[0])
    assert found.share > found.limit
    assert not found.noisy
    assert found.to_json()["noisy"] is None
    assert found.suspects


def test_a_class_with_fewer_images_than_folds_is_left_out() -> None:
    features, labels = clusters()
    labels = np.where(np.arange(300) < 3, 5, labels % 5)
    assert checked(features, labels).images == 297
    assert check_labels_by_features(features[:3], np.array([0, 0, 1]), ["a", "b", "c"], "ab") is None


def test_confident_learning_lists_the_worst_label_first_with_the_likely_class() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.05, 0.95]])
    found = confident_errors(scores, np.array([0, 0, 0, 1, 1, 0]))
    assert [(row, likely) for row, likely, _ in found] == [(5, 1), (2, 1)]
    assert found[0][2] == pytest.approx(-0.9)


def test_maps_and_tokens_are_averaged_over_places() -> None:
    maps = np.arange(2 * 3 * 2 * 2, dtype=np.float16).reshape(2, 3, 2, 2)
    assert pooled(maps).tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert pooled(maps.reshape(2, 3, 4).transpose(0, 2, 1)).tolist() == pooled(maps).tolist()


def test_a_near_copy_of_a_training_image_is_similar_and_another_image_is_not() -> None:
    features, _ = clusters(300)
    later = np.stack([features[7] + 0.001, clusters(1, seed=9)[0][0]])
    (pair,) = similar_pairs(features, later, [f"train/{row}" for row in range(300)], ["copy", "other"])
    assert pair.paths == ("train/7", "copy")


def test_a_small_training_set_has_no_limit_for_similar_images() -> None:
    features, _ = clusters(60)
    assert similar_pairs(features, features, [""] * 60, [""] * 60) == []
