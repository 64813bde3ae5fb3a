"""Reference: how well a linear model does on saved features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.analysis.reference import cross_validated, reference, references
from clearsight.debugger.storage.tape import Tape


def rows(
    images: int = 200, classes: int = 10, width: int = 32, *, signal: float = 2.0, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return saved rows: features around a centre of each class, label, and a prediction that is always 0."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, images)
    features = signal * draw.standard_normal((classes, width))[labels] + draw.standard_normal((images, width))
    return np.c_[features, labels, np.zeros(images)].astype(np.float32)


def test_features_that_hold_the_classes_are_learnable() -> None:
    found = reference(8, rows())
    assert found is not None
    assert found.accuracy > 0.9
    assert found.learnable
    assert found.network == found.images * np.mean(rows()[:, -2] == 0)


@pytest.mark.parametrize("width", [4, 32, 256])
def test_features_that_hold_nothing_are_at_chance(width: int) -> None:
    # Many draws: a reference that leaked the test images would be above chance in most of them.
    found = [reference(8, rows(width=width, signal=0.0, seed=seed)) for seed in range(20)]
    assert sum(one is not None and one.learnable for one in found) <= 1


def test_a_scale_or_an_offset_changes_nothing() -> None:
    plain = rows(signal=0.5)
    moved = plain.copy()
    moved[:, :-2] = 1000 * plain[:, :-2] + 7
    first, second = reference(1, plain), reference(1, moved)
    assert first is not None
    assert second is not None
    assert abs(first.correct - second.correct) <= 2


def test_no_image_is_judged_by_a_model_that_has_seen_it() -> None:
    unique = np.eye(80)  # each image has a feature of its own, which says nothing of others
    labels = np.arange(80) % 2
    assert (cross_validated(unique, labels) == labels).mean() <= 0.6


@pytest.mark.parametrize(
    "saved",
    [
        rows(20),
        rows()[:, -2:],
        rows(classes=1),
        np.full((100, 5), np.nan),
        np.empty((0, 5)),
        np.c_[rows(60)[:, :-2], np.arange(60), np.arange(60)],
    ],
    ids=["few", "no features", "one class", "not finite", "empty", "a class for each image"],
)
def test_nothing_is_said_of_too_little(saved: npt.NDArray[Any]) -> None:
    assert reference(1, saved) is None


@given(arrays.arrays(np.float32, (48, 6), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_finite_features_give_a_proportion(features: npt.NDArray[np.float32]) -> None:
    found = reference(1, np.c_[features, np.arange(48) % 3, np.zeros(48)])
    assert found is not None
    assert 0 <= found.correct <= found.images == 48


def test_references_come_in_order_of_time_by_mode() -> None:
    saved = Tape()
    for step in (8, 40):
        saved.add(RawTensor(Moment("train", step, 1, step), "features", "outputs", rows()))
    saved.add(RawTensor(Moment("eval", 3, 1, 40), "features", "outputs", rows(10)))
    assert [found.step for found in references(saved)] == [8, 40]
    assert references(saved, "eval") == []
