"""Images of a setup: no image twice, evenly over the classes, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import BadChoice, BadValue
from clearsight.testing.faults.images import SplitImages, load_images
from clearsight.testing.faults.setup import FaultSetup


def bytes_of(part: SplitImages) -> set[bytes]:
    return {image.tobytes() for image in part.pixels}


@pytest.mark.parametrize(("data", "classes"), [("digits", 10), ("intel-scenes", 6), ("cifar-10", 10)])
def test_every_dataset(setup: FaultSetup, shared: Path, data: str, classes: int) -> None:
    found = load_images(replace(setup, data=data), shared)
    assert found.classes == classes
    assert found.train.pixels.shape == (160, 32, 32, 3)
    assert found.train.pixels.dtype == np.uint8
    assert np.ptp(np.bincount(found.train.labels)) <= 1
    assert len(found.valid) == len(found.test) == 80


def test_no_image_is_in_two_places(setup: FaultSetup, tmp_path: Path) -> None:
    found = load_images(setup, tmp_path)
    parts = [bytes_of(found.train), bytes_of(found.valid), bytes_of(found.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_the_same_seed_gives_the_same(setup: FaultSetup, tmp_path: Path) -> None:
    first, repeated, other = (load_images(replace(setup, seed=seed), tmp_path) for seed in (0, 0, 1))
    assert np.array_equal(first.train.pixels, repeated.train.pixels)
    assert not np.array_equal(first.train.pixels, other.train.pixels)


def test_labels_shuffled_40_touches_two_of_five_training_labels(setup: FaultSetup, tmp_path: Path) -> None:
    clean, noisy = (load_images(replace(setup, plant=plant), tmp_path) for plant in ("", "labels_shuffled_40"))
    assert np.mean(clean.train.labels != noisy.train.labels) == 0.4
    assert np.array_equal(clean.valid.labels, noisy.valid.labels)


def test_leaked_validation_is_training_images(setup: FaultSetup, tmp_path: Path) -> None:
    leaked = load_images(replace(setup, plant="leaked_validation"), tmp_path)
    assert bytes_of(leaked.valid) <= bytes_of(leaked.train)
    assert not bytes_of(leaked.test) & bytes_of(leaked.train)


def test_class_imbalance_30_is_thirty_to_one(setup: FaultSetup, tmp_path: Path) -> None:
    counts = np.bincount(load_images(replace(setup, plant="class_imbalance_30"), tmp_path).train.labels)
    assert counts.max() == 30 * counts.min()
    assert sorted(counts) == [counts.min()] * 5 + [counts.max()] * 5


def test_more_than_there_are_is_an_error(setup: FaultSetup, tmp_path: Path) -> None:
    with pytest.raises(BadValue):
        load_images(replace(setup, train_size=5000), tmp_path)


def test_an_unknown_dataset_is_an_error(setup: FaultSetup, tmp_path: Path) -> None:
    with pytest.raises(BadChoice):
        load_images(replace(setup, data="digit"), tmp_path)
