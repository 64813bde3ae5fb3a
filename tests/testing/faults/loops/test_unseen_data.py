"""Images of the unseen part and its own faults."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from clearsight.testing.faults.loops.data import LoopImages
from clearsight.testing.faults.loops.setup import LoopSettings
from clearsight.testing.faults.loops.unseen_data import load, order, training, transforms

SETTINGS = LoopSettings(train_size=320, batch_size=32)
SHARED = Path(os.environ.get("CLEARSIGHT_SHARED", "shared"))


def digits(fault: str = "") -> LoopImages:
    return load("digits", 8, SETTINGS, fault, 0, Path())


@pytest.mark.parametrize(
    ("data", "classes", "folder"),
    [("cifar-groups", 5, "cifar-10"), ("intel-nature", 4, "intel-scenes"), ("intel-places", 5, "intel-scenes")],
)
def test_classes_of_the_unseen_data(data: str, classes: int, folder: str) -> None:
    if not (SHARED / "data" / folder).is_dir():
        pytest.skip(f"{folder} is not there")
    images = load(data, 16, SETTINGS, "", 0, SHARED)
    assert images.classes == classes
    assert np.bincount(images.train.labels).min() > 20
    assert len(set(images.valid.labels.tolist())) == classes


def test_one_based_labels_merge_the_first_two_classes() -> None:
    labels, healthy = digits("labels_one_based").train.labels, digits().train.labels
    assert (labels == np.maximum(healthy - 1, 0)).all()
    assert digits("labels_one_based").honest.labels.tolist() == digits().honest.labels.tolist()


def test_unaligned_labels_of_validation() -> None:
    images, healthy = digits("valid_labels_unaligned"), digits()
    assert images.valid.labels.tolist() == healthy.valid.labels.tolist()
    assert (images.valid.pixels != healthy.valid.pixels).any()
    assert sorted(map(bytes, images.valid.pixels)) == sorted(map(bytes, healthy.valid.pixels))
    assert (images.honest.pixels == healthy.honest.pixels).all()


def test_images_that_are_trained_on_are_not_the_honest_ones() -> None:
    images = digits("trained_on_validation")
    used = {image.tobytes() for image in (*images.train.pixels, *images.valid.pixels)}
    assert sum(image.tobytes() in used for image in images.honest.pixels) <= 1
    assert len(images.honest) == 160


def test_a_sampler_that_repeats_an_image() -> None:
    train = TensorDataset(torch.zeros(100))
    drawn = torch.tensor(list(order("batch_of_one_image", train, SETTINGS)["sampler"]))  # type: ignore[arg-type]
    assert len(drawn) == 100
    assert [len(batch.unique()) for batch in drawn.split(32)] == [1, 1, 1, 1]
    assert order("", train, SETTINGS) == {"shuffle": True}  # type: ignore[arg-type]


def test_normalisation_in_place_goes_on_at_every_access() -> None:
    images = digits("normalised_in_place")
    train, _, plain = transforms("digits", 8, SETTINGS, "normalised_in_place")
    cached = training(images.train, train, "normalised_in_place")
    first, second = cached[0][0], cached[0][0]
    assert torch.allclose(first, plain(images.train.pixels[0]))
    assert float(second.std()) > 3 * float(first.std())
    assert len(cached) == len(training(images.train, train, "")) == 320  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "changed"), [("valid_255", "valid"), ("valid_corner", "valid"), ("bytes_overflow", "train")]
)
def test_transforms_of_one_split_are_changed(fault: str, changed: str) -> None:
    torch.manual_seed(0)
    train, valid, plain = transforms("digits", 8, SETTINGS, fault)
    image = digits().train.pixels[0]
    assert torch.equal(train(image), plain(image)) == (changed != "train")
    assert torch.equal(valid(image), plain(image)) == (changed != "valid")
    assert train(image).shape == valid(image).shape == (3, 8, 8)


def test_bytes_wrap_around() -> None:
    train, _, plain = transforms("digits", 8, SETTINGS, "bytes_overflow")
    white = np.full((8, 8, 3), 250, np.uint8)
    assert float(train(white).max()) < float(plain(white).min())


def test_validation_in_bytes() -> None:
    _, valid, _ = transforms("digits", 8, SETTINGS, "valid_255")
    assert float(valid(np.full((8, 8, 3), 255, np.uint8)).min()) > 1000
