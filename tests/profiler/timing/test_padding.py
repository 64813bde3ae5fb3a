"""border_share: the share that letterboxing adds around an image, without any of the image itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadShape, EmptyInput
from clearsight.profiler.timing.padding import border_share

sides = st.integers(0, 6)


def image(height: int = 8, width: int = 10, *, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return noise (1, H, W, 3) without the values 0 and 255, no two pixels alike."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 255, (1, height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(height * width).reshape(height, width) % 250 + 1
    return pixels


def padded(pixels: npt.NDArray[Any], *sides: int, colour: int = 0) -> npt.NDArray[Any]:
    """Return images with so many rows and columns of a colour at the top, bottom, left and right."""
    top, bottom, left, right = sides
    return np.pad(pixels, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=colour)


@given(top=sides, bottom=sides, left=sides, right=sides, colour=st.sampled_from([0, 255]), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_share_is_that_of_the_added_pixels(
    top: int, bottom: int, left: int, right: int, colour: int, seed: int
) -> None:
    images = padded(image(seed=seed), top, bottom, left, right, colour=colour)
    assert border_share(images) == pytest.approx(1 - 80 / (images.shape[1] * images.shape[2]))


@given(top=sides, left=sides, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_layout_and_type_of_the_pixels_do_not_matter(top: int, left: int, seed: int) -> None:
    images = padded(image(seed=seed), top, 0, left, 0)
    share = border_share(images)
    assert border_share(images.transpose(0, 3, 1, 2)) == share
    assert border_share((images.transpose(0, 3, 1, 2) / 255 - 0.5).astype(np.float32)) == share


def test_a_border_may_have_any_single_colour() -> None:
    images = image()
    framed = np.full((1, 12, 10, 3), (10, 20, 30), np.uint8)
    framed[:, 2:10] = images
    assert border_share(framed) == pytest.approx(4 / 12)


def test_a_bar_on_one_side_is_a_border() -> None:
    for side in range(4):
        bar = [0, 0, 0, 0]
        bar[side] = 4
        images = padded(image(), *bar)
        assert border_share(images) == pytest.approx(1 - 80 / (images.shape[1] * images.shape[2]))


def test_dark_patches_inside_and_in_a_corner_are_not_a_border() -> None:
    images = image()
    images[:, 2:5, 2:5] = 0
    images[:, 0, 0] = 0
    assert border_share(images) == 0


def test_bars_of_another_colour_than_the_corners_are_part_of_the_image() -> None:
    images = image()
    images[:, 3, :] = images[:, :, 4] = 0
    assert border_share(images) == 0


def test_an_image_of_one_colour_has_no_border() -> None:
    assert border_share(np.full((2, 3, 8, 8), 7, np.uint8)) == 0


def test_the_share_is_the_mean_over_the_images() -> None:
    images = np.concatenate([padded(image(), 4, 4, 0, 0), image(16, 10)])
    assert border_share(images) == pytest.approx(0.25)


def test_pixels_that_are_nan_are_not_a_border() -> None:
    assert border_share(np.full((1, 3, 4, 4), np.nan)) == 0


def test_arrays_that_are_no_images_raise() -> None:
    with pytest.raises(BadShape, match=r"have the shape \(4, 4, 3\)"):
        border_share(np.zeros((4, 4, 3)))
    with pytest.raises(EmptyInput):
        border_share(np.zeros((0, 3, 4, 4)))
