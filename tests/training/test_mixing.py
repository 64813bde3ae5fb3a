"""Mixup and CutMix blend images and return the exact share of each."""

import numpy as np
import pytest
import torch

from clearsight.training.mixing import mix

IMAGES = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 16, 16).contiguous()  # image i is filled with i
LABELS = torch.arange(8)


def test_off_leaves_everything_as_it_is() -> None:
    images, target = mix(IMAGES, LABELS, 0, 0, np.random.default_rng(0))
    assert images is IMAGES
    assert target.others is None


def test_mixup_blends_by_the_share() -> None:
    images, target = mix(IMAGES, LABELS, 0.4, 0, np.random.default_rng(0))
    assert target.others is not None
    assert target.share is not None
    expected = target.share * LABELS + (1 - target.share) * target.others
    assert torch.allclose(images[:, 0, 3, 3], expected)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_share_is_the_area_that_was_left(seed: int) -> None:
    images, target = mix(IMAGES, LABELS, 0, 1.0, np.random.default_rng(seed))
    assert target.others is not None
    assert target.share is not None
    for image, first_share, other, share in zip(images, LABELS, target.others, target.share, strict=True):
        assert set(image.unique().tolist()) <= {float(first_share), float(other)}
        if first_share != other:
            assert (image == first_share).float().mean() == pytest.approx(float(share))


def test_the_same_generator_gives_the_same_batch() -> None:
    first, _ = mix(IMAGES, LABELS, 0.4, 1.0, np.random.default_rng(7))
    second, _ = mix(IMAGES, LABELS, 0.4, 1.0, np.random.default_rng(7))
    assert torch.equal(first, second)
