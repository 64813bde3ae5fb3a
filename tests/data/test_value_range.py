"""The range of values that a dataset is read by, and images that are nearly one colour by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import Preprocess, ValueRange
from clearsight.core.recipe import DataSection
from clearsight.data.decode import decode
from clearsight.data.geometry import normalise, prepare
from clearsight.data.loader import Loader, LoadPlan
from clearsight.data.readers import open_listing
from clearsight.data.scan import Scan, scan_images
from clearsight.data.splits import make_splits
from clearsight.data.value_range import blank_images, choose_value_range, value_notices

Write = Callable[[np.ndarray], Image.Image]


@pytest.fixture(scope="module")
def grays(shared: Path) -> list[np.ndarray]:
    """Ten gray images (48, 48) in 0 to 255 of real scenes, of two classes in turn."""
    folder = shared / "data" / "intel-scenes" / "seg_train"
    files = [file for name in ("forest", "sea") for file in sorted((folder / name).iterdir())[:5]]
    return [np.asarray(Image.open(file).convert("L").resize((48, 48))) for file in files]


def scanned(folder: Path, images: list[np.ndarray], write: Write, suffix: str = "png") -> tuple[Dataset, Scan]:
    for number, gray in enumerate(images):
        path = folder / ("forest" if number < len(images) / 2 else "sea") / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(gray).save(path)
    section = DataSection(valid_fraction=0.2, test_fraction=0.2)
    dataset = make_splits(open_listing(folder), path=str(folder), recipe=section, seed=0)
    return dataset, scan_images(dataset, workers=0)


def sixteen_bit(factor: int) -> Write:
    return lambda gray: Image.fromarray(gray.astype(np.uint16) * factor)


def floats(factor: float, offset: float = 0.0) -> Write:
    return lambda gray: Image.fromarray(gray.astype(np.float32) * factor + offset)


def whole_numbers(factor: int, offset: int = 0) -> Write:
    return lambda gray: Image.fromarray(gray.astype(np.int32) * factor + offset)


@pytest.mark.parametrize(
    ("write", "suffix", "expected"),
    [
        pytest.param(sixteen_bit(1), "png", (0, 255), id="8 bits in a 16-bit PNG"),
        pytest.param(sixteen_bit(1), "tiff", (0, 255), id="8 bits in a 16-bit TIFF"),
        pytest.param(sixteen_bit(4), "png", (0, 1023), id="10 bits"),
        pytest.param(sixteen_bit(16), "png", (0, 4095), id="12 bits"),
        pytest.param(sixteen_bit(64), "tiff", (0, 16383), id="14 bits"),
        pytest.param(sixteen_bit(257), "png", (0, 65535), id="16 bits"),
        pytest.param(floats(1 / 255), "tiff", (0, 1), id="floats in 0 to 1"),
        pytest.param(floats(1), "tiff", (0, 255), id="floats in 0 to 255"),
        pytest.param(whole_numbers(16), "tiff", (0, 4095), id="12 bits in a 32-bit TIFF"),
        pytest.param(Image.fromarray, "png", None, id="8 bits"),
    ],
)
def test_the_narrowest_usual_range_that_holds_the_values_is_chosen(
    tmp_path: Path, grays: list[np.ndarray], write: Write, suffix: str, expected: ValueRange | None
) -> None:
    dataset, scan = scanned(tmp_path, grays, write, suffix)
    found = choose_value_range(dataset, scan)
    assert found == expected
    assert not blank_images(scan.of(dataset), found)
    for sample in dataset.samples[:3]:  # and by it the image is there again
        pixels = decode(dataset.source.read(sample.locator), value_range=found)
        gray = grays[int(Path(sample.locator).stem)]
        assert np.abs(pixels[:, :, 0].astype(int) - gray).max() <= 2


def test_signed_values_are_read_from_the_smallest_to_the_largest(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, whole_numbers(10, -1000), "tiff")
    train = {int(Path(sample.locator).stem) for sample in dataset.split("train").samples}
    values = np.stack([grays[number] for number in train]).astype(int) * 10 - 1000
    assert choose_value_range(dataset, scan) == (values.min(), values.max())


def test_the_range_comes_from_the_training_images_alone(tmp_path: Path, grays: list[np.ndarray]) -> None:
    for split, factor in (("train", 1), ("test", 257)):
        for number, gray in enumerate(grays):
            path = tmp_path / split / ("forest" if number < 5 else "sea") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(gray.astype(np.uint16) * factor).save(path)
    dataset = make_splits(open_listing(tmp_path), path="", recipe=DataSection(), seed=0)
    assert choose_value_range(dataset, scan_images(dataset, workers=0)) == (0, 255)


def test_a_range_that_is_given_is_used(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, sixteen_bit(16))
    assert choose_value_range(dataset, scan, (0, 50)) == (0, 50)
    [notice] = value_notices(dataset, scan, (0, 2000), (0, 2000))
    assert notice.text.startswith(
        f"{len(dataset)} images have values outside of the range 0 to 2000, which are clipped"
    )


def test_a_given_range_that_no_image_needs_is_said(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, Image.fromarray)
    assert [notice.code for notice in value_notices(dataset, scan, (0, 4095), (0, 4095))] == ["value-range"]


def test_the_notice_names_the_images_the_range_found_and_the_flag(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, sixteen_bit(1))
    [notice] = value_notices(dataset, scan, choose_value_range(dataset, scan))
    low, high = min(gray.min() for gray in grays), max(gray.max() for gray in grays)
    assert notice.text == (
        f"10 of 10 images are nearly one colour by the full range of 16 bits, as their values are {low} to {high} of "
        "65535: they are read from 0 to 255 (--value-range 0,65535 reads the full range)."
    )
    [blank] = value_notices(dataset, scan, (0.0, 65535.0), (0.0, 65535.0))
    assert blank.text.startswith("10 of 10 images are nearly one colour, such as ")
    assert f"(values {low} to {high} of 65535)" in blank.text
    assert len(blank.paths) == 10


def test_no_notice_about_16_bits_that_use_their_range(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, sixteen_bit(257))
    assert value_notices(dataset, scan, choose_value_range(dataset, scan)) == []


def test_training_and_serving_read_the_same_values(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, grays, sixteen_bit(16))
    preprocess = Preprocess(size=32, resize=40, value_range=choose_value_range(dataset, scan))
    [batch] = Loader(dataset, preprocess, LoadPlan(batch_size=len(dataset), workers=0)).epoch(1)
    trained = normalise(batch.images, preprocess)
    served = np.stack([prepare(dataset.source.read(sample.locator), preprocess) for sample in dataset.samples])
    np.testing.assert_array_equal(trained, served)
    assert Preprocess.model_validate_json(preprocess.model_dump_json()) == preprocess  # as in the bundle


@pytest.mark.parametrize(
    ("write", "words"),
    [
        pytest.param(lambda gray: Image.new("L", (48, 48), 7), "values 7 to 7 of 255", id="constant"),
        pytest.param(lambda gray: Image.new("RGB", (48, 48), "white"), "values 255 to 255 of 255", id="white"),
        pytest.param(lambda gray: Image.new("RGBA", (48, 48)), "as fully transparent ones are", id="transparent"),
        pytest.param(
            lambda gray: Image.fromarray((gray > 99).astype(np.uint8)), r"0 to 1 of 255\): store their", id="0 and 1"
        ),
        pytest.param(lambda gray: Image.fromarray(np.full((9, 9), 7, np.uint16)), "values 7 to 7", id="16 bits"),
        pytest.param(lambda gray: Image.fromarray(np.full((9, 9), 0.5, np.float32)), "values 0.5 to 0.5", id="float"),
    ],
)
def test_images_that_hold_nothing_are_named(tmp_path: Path, grays: list[np.ndarray], write: Write, words: str) -> None:
    suffix = "tiff" if write(grays[0]).mode == "F" else "png"
    dataset, scan = scanned(tmp_path, grays, write, suffix)
    notices = value_notices(dataset, scan, choose_value_range(dataset, scan))
    [blank] = [notice for notice in notices if notice.code == "blank-images"]
    assert blank.text.startswith("10 of 10 images are nearly one colour")
    assert words.replace("\\", "") in blank.text


def test_a_few_blank_images_among_others_are_listed(tmp_path: Path, grays: list[np.ndarray]) -> None:
    dataset, scan = scanned(tmp_path, [*grays[:-1], np.zeros((48, 48), np.uint8)], Image.fromarray)
    [notice] = value_notices(dataset, scan, None)
    assert notice.paths == ("sea/9.png",)
    assert notice.text.startswith("1 of 10 images are")
