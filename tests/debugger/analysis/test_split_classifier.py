"""Splits told apart by a classifier: a fixed change of all images is named, and random ones are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clearsight.debugger.analysis.split_classifier import explained_difference, told_apart
from tests.debugger.scenes import CLASSES, erased, mirrored, scenes, shifted, thumbnails

Change = Callable[[Tensor], Tensor]


def difference(train: Change | None = None, valid: Change | None = None, *, count: int = 160) -> str:
    """Return the change that explains the difference of changed training and validation images, "" for none."""
    splits = []
    for seed, change in ((1, train), (2, valid)):
        images, labels = scenes(count, seed=seed, side=24)
        splits.append(thumbnails(images if change is None else change(images), labels))
    found = explained_difference(splits[0], splits[1], None)
    return found.change if found else ""


def corner(images: Tensor) -> Tensor:
    """Return the upper left quarter of images of twice the size."""
    side = images.shape[3]
    return functional.interpolate(images, 2 * side, mode="bilinear")[:, :, :side, :side]


def lit(images: Tensor) -> Tensor:
    """Return the images brighter at the right, so that no corner looks like another one."""
    return images + torch.linspace(-1, 1, images.shape[3])


def resized_crops(images: Tensor) -> Tensor:
    """Return a random part of each image, of a half to all of its sides, in its full size."""
    draw, side, parts = torch.Generator().manual_seed(3), images.shape[3], []
    for image in images:
        size = int(torch.randint(side // 2, side + 1, (), generator=draw))
        y, x = torch.randint(0, side - size + 1, (2,), generator=draw).tolist()
        parts.append(functional.interpolate(image[None, :, y : y + size, x : x + size], side, mode="bilinear"))
    return torch.cat(parts)


def mixed(images: Tensor) -> Tensor:
    shares = torch.rand(len(images), 1, 1, 1, generator=torch.Generator().manual_seed(4))
    return shares * images + (1 - shares) * images.flip(0)


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [
        (lambda images: mirrored(images.flip(2)), None, "turned upside down"),
        (None, lambda images: images.flip(2), "turned upside down"),
        (lambda images: torch.rot90(images, 1, (2, 3)), None, "90 degrees to the left"),
        (None, lambda images: images[:, [2, 1, 0]], "2, 1, 0"),
        (None, corner, "validation images show the upper left quarter of alone"),
    ],
    ids=["train-upside-down", "valid-upside-down", "turned", "channels", "valid-corner"],
)
def test_a_fixed_change_of_all_images_is_named(train: Change | None, valid: Change | None, expected: str) -> None:
    assert expected in difference(train, valid)


def test_training_on_a_corner_alone_is_named() -> None:
    assert "upper left quarter alone of what validation images show whole" in difference(
        lambda images: corner(lit(images)), lit
    )


@pytest.mark.parametrize(
    "train",
    [None, mirrored, shifted, erased, resized_crops, mixed, lambda images: 1.2 * images + 0.1],
    ids=["none", "mirrored", "shifted", "erased", "resized-crops", "mixup", "contrast"],
)
def test_random_changes_of_training_images_are_no_difference(train: Change | None) -> None:
    assert difference(train) == ""


def test_images_that_are_turned_at_random_are_no_difference() -> None:
    assert difference(lambda images: torch.cat([images[::2], images[1::2].flip(2)])) == ""


def test_few_images_are_not_judged() -> None:
    assert difference(lambda images: images.flip(2), count=50) == ""


def test_other_shares_of_the_classes_are_no_difference() -> None:
    # A class that looks like another one upside down, which training has hardly and validation nearly alone.
    images, labels = scenes(400, seed=1)
    images = torch.where((labels == 0).view(-1, 1, 1, 1), images.flip(2), images)
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels, minlength=CLASSES)
    first = int(counts[0])
    rare = torch.cat([order[: first // 3], order[first:]])
    common = torch.cat([order[first // 3 : first], order[first : first + 20]])
    assert (
        explained_difference(thumbnails(images[rare], labels[rare]), thumbnails(images[common], labels[common]), None)
        is None
    )


def test_halves_of_the_same_images_are_told_apart_by_chance() -> None:
    pixels = thumbnails(*scenes(400, seed=5)).coarse(6)
    assert told_apart(pixels[::2], pixels[1::2]) == pytest.approx(0.5, abs=0.07)
