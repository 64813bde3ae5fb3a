"""Training images among validation images, behind random changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clearsight.debugger.analysis.near_duplicates import near_duplicates
from tests.debugger.scenes import erased, mirrored, scenes, shifted, thumbnails


def near(train: Tensor, valid: Tensor) -> float:
    return float(near_duplicates(thumbnails(train), thumbnails(valid)).mean())


def test_training_images_are_known_again_behind_shifts_and_mirroring() -> None:
    images, _ = scenes(256, seed=1)
    assert near(mirrored(shifted(images, most=2)), images) > 0.8


def test_half_of_the_images_are_known_again_where_half_are_in_training() -> None:
    images, _ = scenes(256, seed=1)
    assert near(mirrored(images[:128]), images) == pytest.approx(0.5, abs=0.05)


def test_other_images_are_not_near() -> None:
    images, _ = scenes(256, seed=1)
    for train in (images, mirrored(images), shifted(images), erased(images)):
        assert near(train, scenes(160, seed=2)[0]) <= 0.02


def test_images_that_resemble_each_other_within_a_split_are_not_near() -> None:
    # Frames of a few films: each has its like in both splits.
    films, _ = scenes(10, seed=3)
    draw = torch.Generator().manual_seed(0)
    frames = films.repeat(40, 1, 1, 1)
    frames = frames + 0.3 * torch.randn(frames.shape, generator=draw)
    order = torch.randperm(len(frames), generator=draw)
    assert near(frames[order[:256]], frames[order[256:]]) <= 0.05


def test_repeated_validation_images_count_once_and_few_are_not_judged() -> None:
    images, _ = scenes(256, seed=1)
    assert near(mirrored(images), torch.cat([images, images])) > 0.8
    assert not len(near_duplicates(thumbnails(images), thumbnails(images[:30])))


def test_blank_images_are_not_near() -> None:
    assert near_duplicates(thumbnails(scenes(100, seed=1)[0]), thumbnails(torch.zeros(100, 3, 24, 24))).sum() == 0
