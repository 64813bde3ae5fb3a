"""Whatever holds an image is classified alike: files, bytes, arrays, PIL images, tensors, and whole datasets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import DataSection
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.predict import predict
from clearsight.workflow.prepare.inputs import input_images
from tests.workflow.colour_images import COLOURS, write_class_folders, write_image

DATA = DataSection()


def green(size: int = 24) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pixels (size, size, 3) of one colour."""
    return np.full((size, size, 3), COLOURS["green"], np.uint8)


def labels(tmp_path: Path, images: Any, **options: Any) -> list[str | None]:
    return [row.label for row in predict(make_bundle(tmp_path / "bundle").path, images, top=1, **options)]


def test_every_form_of_an_image_gets_the_same_probabilities(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    file = write_image(tmp_path / "green.png", "green")
    tensor = torch.from_numpy(green()).permute(2, 0, 1)
    forms = [file, str(file), file.read_bytes(), bytearray(file.read_bytes()), green(), Image.open(file), tensor]
    forms += [tensor / 255, tensor.half() / 255, green() / 255.0]
    found = predict(make_bundle(tmp_path / "bundle").path, forms)
    assert len({row.top for row in found}) == 1, "two forms of one file are one image, and all others agree"
    assert len(found) == len(forms) - 1
    assert [row.path for row in found][1:3] == ["#0", "#1"]


def test_an_array_of_images_is_several_images(tmp_path: Path) -> None:
    red = np.full((24, 24, 3), COLOURS["red"], np.uint8)
    assert labels(tmp_path, np.stack([green(), red])) == ["green", "red"]
    assert labels(tmp_path, (image for image in (red, green()))) == ["red", "green"]


def test_gray_images_become_rgb(tmp_path: Path) -> None:
    gray = np.full((24, 24), 255, np.uint8)
    forms = [gray, Image.new("L", (24, 24), 255), gray[:, :, None], np.full((24, 24, 3), 255, np.uint8)]
    assert len({row.top for row in predict(make_bundle(tmp_path / "bundle").path, forms)}) == 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "an image of type int: must be a path, bytes, an array"),
        (np.zeros((24, 24, 5), np.uint8), "an array of shape .*: an image must be"),
        (np.zeros((24, 24, 3), np.int64), "an array of int64: pixels must be uint8"),
    ],
)
def test_other_objects_are_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        input_images([value], DATA)


def test_an_empty_list_has_no_image() -> None:
    with pytest.raises(EmptyInput, match="there is no image there"):
        input_images([], DATA)


def test_an_image_above_the_limit_of_pixels_is_listed_with_the_reason(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").path
    found = predict(bundle, [green(30), green(10)], max_pixels=400)
    assert [row.label for row in found] == [None, "green"]
    assert "the limit is 400" in (found[0].error or "")


def test_a_table_is_a_dataset(tmp_path: Path) -> None:
    rows = [("a.png", "green"), ("b.png", "red")]
    for name, colour in rows:
        write_image(tmp_path / name, colour)
    with (tmp_path / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    assert labels(tmp_path, tmp_path / "images.csv") == ["green", "red"]


def test_a_split_of_a_folder_is_classified_alone(tmp_path: Path) -> None:
    write_class_folders(tmp_path / "photos" / "train", {"green": 2, "red": 2})
    write_class_folders(tmp_path / "photos" / "test", {"red": 1})
    assert len(labels(tmp_path, tmp_path / "photos")) == 5
    assert labels(tmp_path, tmp_path / "photos", split="test") == ["red"]
    with pytest.raises(BadChoice, match=r"no such split. Allowed: train, test"):
        labels(tmp_path, tmp_path / "photos", split="predict")


def test_the_unlabelled_split_of_real_data(shared: Path) -> None:
    scenes = input_images(shared / "data" / "intel-scenes", DATA, "predict")
    assert len(scenes) == 60
    assert all("seg_pred" in image.name for image in scenes)
    lesions = input_images(shared / "data" / "isic-2024" / "test-image.hdf5", DATA)
    assert len(lesions) == 3
    assert all(image.read() for image in lesions)
    assert len(input_images(shared / "data" / "cifar-10", DATA, "test")) == 200
