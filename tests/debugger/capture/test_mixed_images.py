"""Mixtures of two images of a batch are told from every other change of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clearsight.debugger.capture.mixed_images import own_share


@pytest.fixture
def images() -> Tensor:
    return torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_share_of_mixup_is_found(images: Tensor, share: float, dtype: torch.dtype) -> None:
    mixed = share * images + (1 - share) * images.roll(1, 0)
    assert own_share(images.to(dtype), mixed.to(dtype)) == pytest.approx(share, abs=0.01)


def test_an_image_that_is_mixed_with_itself_says_nothing(images: Tensor) -> None:
    order = torch.arange(32).roll(1)
    order[3] = 3
    assert own_share(images, 0.3 * images + 0.7 * images[order]) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    "changed",
    [
        lambda images: images.flip(3),
        lambda images: images.roll(1, 0),
        lambda images: 0.5 * images,
        lambda images: images + 0.2 * torch.ones_like(images),
        lambda images: (images + images.roll(1, 0) + images.roll(2, 0)) / 3,
        lambda images: torch.cat([images[:, :, :8], images.roll(1, 0)[:, :, 8:]], 2),
        lambda images: images[:, :, :8],
        lambda images: images[:16],
        lambda images: images * torch.nan,
    ],
    ids=["mirrored", "reordered", "scaled", "brighter", "three", "cutmix", "cut", "fewer", "nan"],
)
def test_other_changes_are_no_mixtures(images: Tensor, changed: object) -> None:
    assert callable(changed)
    assert own_share(images, changed(images)) is None
