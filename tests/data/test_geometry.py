"""`Preprocess` applied to pixels: crop, resize and normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clearsight.core.errors import BadImage, BadShape, BadValue
from clearsight.core.preprocess import Interpolation, Preprocess
from clearsight.data.geometry import (
    centre_box,
    crop,
    denormalise,
    normalise,
    prepare,
    prepare_pixels,
    resample,
    scale_shift,
    shrink,
)

USUAL = Preprocess(size=224, resize=256)


def images(shared: Path) -> list[Path]:
    return sorted((shared / "data/imagenet-sample/images").iterdir())[:12]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_crop_keeps_the_centre() -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 200  # exactly the centre square
    assert (crop(pixels, Preprocess(size=16, resize=16, interpolation="nearest")) == 200).all()


def test_crop_of_a_fitting_image_changes_nothing() -> None:
    exact = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(crop(exact, Preprocess(size=32, resize=32)), exact)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("size", "resize"), [(224, 256), (64, 73), (300, 300)])
def test_crop_equals_torchvisions_resize_and_centre_crop(
    shared: Path, interpolation: Interpolation, size: int, resize: int
) -> None:
    from torchvision import transforms

    preprocess = Preprocess(size=size, resize=resize, interpolation=interpolation)
    reference = transforms.Compose(
        [transforms.Resize(resize, transforms.InterpolationMode(interpolation)), transforms.CenterCrop(size)]
    )
    for path in images(shared):
        image = Image.open(path).convert("RGB")
        difference = np.abs(crop(np.asarray(image), preprocess).astype(int) - np.asarray(reference(image)).astype(int))
        assert difference.max() <= 2, path.name
        assert difference.mean() < 0.05, path.name


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2000), (2000, 1), (1, 5_000_000), (76, 150), (7, 3)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_any_shape_gives_a_square(height: int, width: int, interpolation: Interpolation) -> None:
    pixels = np.full((height, width, 3), (10, 20, 30), dtype=np.uint8)
    square = crop(pixels, USUAL.model_copy(update={"interpolation": interpolation}))
    assert square.shape == (224, 224, 3)
    assert (square == (10, 20, 30)).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 40), st.integers(0, 40), st.sampled_from([0, 1, 2, 3]))
def test_cutting_before_resizing_is_invisible(height: int, width: int, size: int, more: int, kind: int) -> None:
    names: list[Interpolation] = ["nearest", "bilinear", "bicubic", "lanczos"]
    filters = [Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
    preprocess = Preprocess(size=size, resize=size + more, interpolation=names[kind])
    # Away from 0 and 255: Pillow clips between its two passes, whose order it chooses by the size of the image.
    pixels = np.random.default_rng(height * 1000 + width).integers(80, 176, (height, width, 3), dtype=np.uint8)
    box = centre_box(height, width, preprocess)
    uncut = np.asarray(Image.fromarray(pixels).resize((size, size), filters[kind], box=box)).astype(int)
    cut = crop(pixels, preprocess).astype(int)
    if names[kind] == "nearest":  # a coordinate that falls on the border of two pixels may go either way
        assert (cut != uncut).mean() < 0.3
    else:
        assert np.abs(cut - uncut).max() <= 2


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_crop_refuses_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadShape, match="wanted"):
        crop(np.zeros(shape, dtype=np.uint8), USUAL)


def test_resample_refuses_floats() -> None:
    with pytest.raises(BadShape, match="float64"):
        resample(np.zeros((4, 4, 3)), (0, 0, 4, 4), 8, "bilinear")  # type: ignore[arg-type]


def test_shrink_reduces_the_short_side_only_when_larger() -> None:
    pixels = np.zeros((100, 301, 3), dtype=np.uint8)
    assert shrink(pixels, 50, "bilinear").shape == (50, 150, 3)
    assert shrink(pixels, 100, "bilinear") is pixels


def test_normalise_is_the_textbook_formula() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    expected = (batch / 255 - np.array(USUAL.mean)) / np.array(USUAL.std)
    normalised = normalise(batch, USUAL)
    assert normalised.shape == (2, 3, 8, 8)
    assert normalised.dtype == np.float32
    assert normalised.flags.c_contiguous
    np.testing.assert_allclose(normalised.transpose(0, 2, 3, 1), expected, atol=1e-6)


def test_torch_gets_the_same_bits_from_scale_and_shift() -> None:
    import torch

    every_byte = np.arange(256, dtype=np.uint8).repeat(3).reshape(4, 8, 8, 3)
    scale, shift = (torch.from_numpy(part)[:, None, None] for part in scale_shift(USUAL))
    reference = torch.from_numpy(every_byte).permute(0, 3, 1, 2).float().mul_(scale).add_(shift)
    assert np.array_equal(reference.numpy(), normalise(every_byte, USUAL))


def test_normalise_refuses_planes_first() -> None:
    with pytest.raises(BadShape, match="wanted"):
        normalise(np.zeros((1, 3, 8, 8), dtype=np.uint8), USUAL)


def test_prepare_is_decode_crop_and_normalise(shared: Path) -> None:
    path = images(shared)[0]
    expected = normalise(crop(pixels_of(path), USUAL)[None], USUAL)[0]
    assert np.array_equal(prepare(path.read_bytes(), USUAL), expected)
    assert np.array_equal(prepare(pixels_of(path), USUAL), expected)


def test_prepare_names_the_image_it_cannot_decode(shared: Path) -> None:
    with pytest.raises(BadImage, match="broken"):
        prepare((shared / "data/bad-inputs/zero_byte.jpg").read_bytes(), USUAL, name="broken")


def test_prepare_holds_the_pixel_limit(shared: Path) -> None:
    with pytest.raises(BadImage, match="limit"):
        prepare(images(shared)[0].read_bytes(), USUAL, max_pixels=100)


def test_pixels_come_back_from_a_prepared_image(shared: Path) -> None:
    odd = Preprocess(size=224, resize=256, mean=(0.1, 0.5, 0.9), std=(0.01, 0.5, 1.0))
    for path in images(shared)[:3]:
        for preprocess in (USUAL, odd):
            pixels = prepare_pixels(path.read_bytes(), preprocess)
            assert (pixels.shape, pixels.dtype) == ((224, 224, 3), np.uint8)
            assert np.array_equal(denormalise(prepare(path.read_bytes(), preprocess), preprocess), pixels)


@pytest.mark.parametrize("value", [0.123, 99.0, -99.0, np.nan, np.inf])
def test_numbers_that_are_no_pixels_have_none(value: float) -> None:
    image = normalise(np.zeros((1, 8, 8, 3), np.uint8), USUAL)[0]
    image[1, 2, 3] = value
    with pytest.raises(BadValue, match="not those of pixels"):
        denormalise(image, USUAL)
