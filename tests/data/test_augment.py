"""Random views of an image depend only on their generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clearsight.core.dataset import Pixels
from clearsight.core.preprocess import PRESETS, Augment, Preprocess
from clearsight.data.augment import OPERATIONS, augment, rand_augment, random_box, rotated, view_rng
from clearsight.data.geometry import crop

PREPROCESS = Preprocess(size=64, resize=72)
GRAY = (128, 128, 128)


@pytest.fixture(scope="module")
def pixels(shared: Path) -> Pixels:
    path = sorted((shared / "data/imagenet-sample/images").iterdir())[3]
    return np.asarray(Image.open(path).convert("RGB"))


def mean_difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_nothing_asked_for_is_the_evaluation_crop(pixels: Pixels) -> None:
    assert np.array_equal(augment(pixels, Augment(), PREPROCESS, view_rng(0, 0, 0)), crop(pixels, PREPROCESS))


@pytest.mark.parametrize("preset", ["light", "standard", "randaugment"])
def test_a_view_follows_from_seed_epoch_and_index(pixels: Pixels, preset: str) -> None:
    chosen = PRESETS[preset]
    view = augment(pixels, chosen, PREPROCESS, view_rng(1, 2, 3))
    assert view.shape == (64, 64, 3)
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    np.random.default_rng().random()  # other generators do not matter
    assert np.array_equal(augment(pixels, chosen, PREPROCESS, view_rng(1, 2, 3)), view)
    for other in [(0, 2, 3), (1, 0, 3), (1, 2, 4)]:
        assert not np.array_equal(augment(pixels, chosen, PREPROCESS, view_rng(*other)), view)


def test_views_of_neighbours_are_unrelated() -> None:
    draws = np.array([[view_rng(0, epoch, index).random() for index in range(200)] for epoch in range(20)])
    assert abs(draws.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 0.06
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 0.06


def test_flip_mirrors_left_and_right(pixels: Pixels) -> None:
    always = augment(pixels, Augment(flip=1.0), PREPROCESS, view_rng(0, 0, 0))
    assert np.array_equal(always, crop(pixels, PREPROCESS)[:, ::-1])


def test_flip_happens_as_often_as_asked(pixels: Pixels) -> None:
    straight, chosen = crop(pixels, PREPROCESS), Augment(flip=0.25)
    flipped = sum(
        not np.array_equal(augment(pixels, chosen, PREPROCESS, view_rng(0, 0, i)), straight) for i in range(400)
    )
    assert 70 <= flipped <= 130


@settings(max_examples=200)
@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0.01, 1.0), st.integers(0, 2**32 - 1))
def test_random_boxes_lie_inside(height: int, width: int, least: float, seed: int) -> None:
    left, top, right, bottom = random_box(height, width, Augment(scale=(least, 1.0)), np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_random_boxes_have_the_area_and_shape_asked_for() -> None:
    chosen, rng = Augment(scale=(0.3, 0.6)), np.random.default_rng(0)
    boxes = np.array([random_box(500, 600, chosen, rng) for _ in range(500)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = widths * heights / 300_000, widths / heights
    assert 0.29 < areas.min() < 0.33
    assert 0.57 < areas.max() < 0.61
    assert 0.74 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.35


def test_a_line_falls_back_to_its_centre() -> None:
    left, top, right, bottom = random_box(1, 2000, Augment(scale=(0.35, 1.0)), np.random.default_rng(0))
    assert (top, bottom) == (0, 1)
    assert (left + right) / 2 == 1000
    assert right - left == pytest.approx(4 / 3)


def test_a_quarter_turn_moves_every_pixel_to_its_place() -> None:
    view = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.abs(rotated(view, 90).astype(int) - np.rot90(view).astype(int)).max() <= 1
    assert np.array_equal(rotated(view, 0), view)


@given(st.integers(8, 40), st.floats(-180, 180))
@settings(deadline=None)
def test_rotation_fills_corners_by_reflection(size: int, degrees: float) -> None:
    assert (rotated(np.full((size, size, 3), 77, dtype=np.uint8), degrees) == 77).all()


def test_rotation_agrees_with_pillow_in_the_middle(pixels: Pixels) -> None:
    view = crop(pixels, PREPROCESS)
    expected = np.asarray(Image.fromarray(view).rotate(10, Image.Resampling.BILINEAR))
    assert mean_difference(rotated(view, 10)[12:52, 12:52], expected[12:52, 12:52]) < 0.5


def test_colour_changes_values_and_not_places() -> None:
    half = np.zeros((64, 64, 3), dtype=np.uint8)
    half[:, 32:] = (200, 100, 50)
    view = augment(half, Augment(colour=0.3), Preprocess(size=64, resize=64), view_rng(0, 0, 1))
    assert not np.array_equal(view, half)
    assert (view[:, :32] == view[0, 0]).all()
    assert (view[:, 32:] == view[0, 63]).all()


def test_randaugment_has_the_fourteen_operations() -> None:
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize"}))
def test_an_operation_at_level_zero_changes_nothing(pixels: Pixels, name: str) -> None:
    image = Image.fromarray(crop(pixels, PREPROCESS))
    assert np.array_equal(np.asarray(OPERATIONS[name](image, 0.0, GRAY)), np.asarray(image))


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"identity"}))
@pytest.mark.parametrize("level", [-1.0, 1.0])
def test_an_operation_at_full_level_changes_the_image_and_not_its_shape(
    pixels: Pixels, name: str, level: float
) -> None:
    image = Image.fromarray(crop(pixels, PREPROCESS))
    changed = OPERATIONS[name](image, level, GRAY)
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert mean_difference(np.asarray(changed), np.asarray(image)) > 1


def test_moved_images_leave_the_fill_behind(pixels: Pixels) -> None:
    moved = np.asarray(OPERATIONS["translate-x"](Image.fromarray(crop(pixels, PREPROCESS)), 1.0, GRAY))
    assert (moved[:, -29:] == 128).all()


def test_a_shear_keeps_the_centre_in_place(pixels: Pixels) -> None:
    view = crop(pixels, PREPROCESS)
    sheared = np.asarray(OPERATIONS["shear-x"](Image.fromarray(view), 1.0, GRAY))
    assert mean_difference(sheared[31:33, 24:40], view[31:33, 24:40]) < mean_difference(sheared[:4], view[:4])


def test_stronger_magnitude_changes_more(pixels: Pixels) -> None:
    view = crop(pixels, PREPROCESS)

    def change(magnitude: int) -> float:
        chosen = Augment(operations=2, magnitude=magnitude)
        image = Image.fromarray(view)
        changed = [rand_augment(image, chosen, GRAY, view_rng(0, 0, i)) for i in range(60)]
        return float(np.mean([mean_difference(np.asarray(each), view) for each in changed]))

    assert change(3) < change(15) < change(30)
