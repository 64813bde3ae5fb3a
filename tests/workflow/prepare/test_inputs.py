"""Whatever holds an image is classified alike: files, bytes, arrays, PIL images, tensors, and whole datasets."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import DataSection
from clearsight.data.readers import open_listing
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


RED_GREEN = np.stack([np.full((24, 24, 3), COLOURS[name], np.uint8) for name in ("red", "green")])


def write_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "images.zip", "w") as packed:
        for name in ("red", "green"):
            packed.write(write_image(folder / f"{name}.png", name), f"{('red', 'green').index(name)}.png")
    return folder / "images.zip"


def write_table(folder: Path) -> Path:
    for name in ("red", "green"):
        write_image(folder / f"{name}.png", name)
    rows = [("path", "width", "taken"), ("red.png", 24, "monday"), ("green.png", 24, "friday")]  # no column of classes
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "images.csv"


def write_hdf5(folder: Path) -> Path:
    with h5py.File(folder / "images.h5", "w") as file:
        file["images"] = RED_GREEN.transpose(0, 3, 1, 2) / 255.0
        file["fruit"] = file["age"] = np.array([1, 2])  # either may be the labels, which decide nothing
    return folder / "images.h5"


def write_npz(folder: Path) -> Path:
    np.savez(folder / "images.npz", x_test=RED_GREEN.astype(np.uint16) * 257)
    return folder / "images.npz"


def write_parquet(folder: Path) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {"bytes": write_image(folder / f"{name}.png", name).read_bytes(), "path": None} for name in ("red", "green")
    ]
    parquet.write_table(arrow.table({"image": rows, "width": [24, 24]}), folder / "images.parquet")
    return folder / "images.parquet"


def write_tar(folder: Path) -> Path:
    with tarfile.open(folder / "images.tar.gz", "w:gz") as packed:
        for number, name in enumerate(("red", "green")):
            packed.add(write_image(folder / f"{name}.png", name), f"{number}.png")
    return folder / "images.tar.gz"


@pytest.mark.parametrize("write", [write_zip, write_table, write_hdf5, write_npz, write_parquet, write_tar])
def test_every_dataset_that_training_reads_is_classified_with_or_without_labels(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    (tmp_path / "data").mkdir()
    dataset = write(tmp_path / "data")
    found = predict(make_bundle(tmp_path / "bundle").path, dataset, top=1)
    assert [(row.label, row.error) for row in found] == [("red", None), ("green", None)]
    assert "data:image/" in found._repr_html_()


def test_a_folder_gives_every_image_that_training_lists(tmp_path: Path, shared: Path) -> None:
    data = write_image(tmp_path / "a.png", "green").read_bytes()
    folder = tmp_path / "mixed"
    for name in ("one.jfif", "two.JPE", "three.dib", "four", "svg.svg", "notes.txt", "no image", ".hidden.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "six.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (folder / "no image").write_bytes(b"words")
    found = predict(make_bundle(tmp_path / "bundle").path, folder, top=1)
    listed = open_listing(folder).records
    assert {Path(row.path).relative_to(folder).as_posix() for row in found} == {record.locator for record in listed}
    assert {Path(row.path).name: row.error for row in found if row.error} == {
        "six.heic": "it is an HEIC file, which is not read"
    }
    assert [Path(row.path).name for row in found if row.label == "green"] == [
        *("four", "one.jfif", "svg.svg", "three.dib", "two.JPE"),
    ]


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
