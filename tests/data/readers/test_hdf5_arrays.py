"""HDF5 arrays of pixels and labels under their usual names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.decode import decode
from clearsight.data.readers.hdf5_arrays import READER


@pytest.fixture(scope="module")
def pixels(shared: Path) -> np.ndarray:
    """(4, 32, 48, 3) uint8 from real scenes."""
    files = sorted((shared / "data/intel-scenes/seg_test/sea").iterdir())[:4]
    return np.stack([decode(file.read_bytes())[:32, :48] for file in files])


def read(path: Path, **options: str) -> Listing:
    assert READER.recognises(path)
    return READER.read(path, ReadOptions(**options))


def store(path: Path, **datasets: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


LABELS = np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("images", "labels"), {None: 4}),
        (("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"), {"train": 4, "valid": 4, "test": 4}),
        (("train__images", "train__labels", "test__images", "test__labels"), {"train": 4, "test": 4}),
        (("train_set_x", "train_set_y"), {"train": 4}),
        (("x_train", "y_train", "x_test"), {"train": 4, "predict": 4}),
    ],
)
def test_arrays_and_labels_are_matched_by_name(
    tmp_path: Path, pixels: np.ndarray, names: tuple[str, ...], splits: dict[str | None, int]
) -> None:
    kinds = {name: LABELS if name.split("__")[-1][0] in "yl" or name.endswith("_y") else pixels for name in names}
    listing = read(store(tmp_path / "a.h5", **kinds))
    assert Counter(record.split for record in listing.records) == splits
    assert {record.label for record in listing.records} - {None} == {"0", "1"}
    np.testing.assert_array_equal(listing.source.read(listing.records[1].locator), pixels[1])


def test_declared_class_names_fix_the_order(tmp_path: Path, pixels: np.ndarray) -> None:
    names = np.array([b"tree", b"apple"])
    listing = read(store(tmp_path / "a.h5", images=pixels, labels=LABELS.reshape(1, 4), list_classes=names))
    assert listing.classes == ("tree", "apple")
    assert [record.label for record in listing.records] == ["tree", "apple", "apple", "tree"]


@pytest.mark.parametrize("layout", ["NCHW", "NHW", "NHW1"])
def test_other_layouts_become_rgb(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    stored = {"NCHW": pixels.transpose(0, 3, 1, 2), "NHW": pixels[..., 0], "NHW1": pixels[..., :1]}[layout]
    expected = pixels[2] if layout == "NCHW" else np.repeat(pixels[2, :, :, :1], 3, axis=2)
    listing = read(store(tmp_path / "a.h5", images=stored, labels=LABELS))
    np.testing.assert_array_equal(listing.source.read(listing.records[2].locator), expected)


def test_a_folder_of_files_named_by_split(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("train", "test"):
        store(tmp_path / f"{name}.h5", images=pixels, labels=LABELS)
    assert Counter(record.split for record in read(tmp_path).records) == {"train": 4, "test": 4}


def test_one_of_two_label_datasets_is_chosen_by_name(tmp_path: Path, pixels: np.ndarray) -> None:
    path = store(tmp_path / "a.h5", images=pixels, labels=LABELS, coarse=LABELS + 5)
    with pytest.raises(BadData, match="coarse, labels may all be the labels of images"):
        read(path)
    assert {record.label for record in read(path, label_column="coarse").records} == {"5", "6"}


@pytest.mark.parametrize(
    ("change", "words"),
    [({"images": "float32"}, "is float32, images must be uint8")],
)
def test_other_numbers_are_refused(tmp_path: Path, pixels: np.ndarray, change: dict[str, str], words: str) -> None:
    values = {"images": pixels, "labels": LABELS}
    path = store(
        tmp_path / "a.h5", **{name: data.astype(change.get(name, data.dtype)) for name, data in values.items()}
    )
    with pytest.raises(BadData, match=words):
        read(path)


def test_weights_next_to_class_folders_are_not_read_as_images(tmp_path: Path) -> None:
    store(tmp_path / "model.h5", conv=np.zeros((3, 3, 3, 64), dtype=np.float32))
    assert not READER.recognises(tmp_path)


def test_whole_labels_may_be_stored_as_floats(tmp_path: Path, pixels: np.ndarray) -> None:
    listing = read(store(tmp_path / "a.h5", images=pixels, labels=LABELS.astype(np.float32)))
    assert [record.label for record in listing.records] == [str(label) for label in LABELS]


def test_labels_that_are_not_whole_are_a_regression_target(tmp_path: Path, pixels: np.ndarray) -> None:
    path = store(tmp_path / "a.h5", images=pixels, labels=LABELS + 0.5)
    with pytest.raises(BadData, match=r"look like a regression target\. Store whole numbers"):
        read(path)


def test_one_hot_labels_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    one_hot = np.eye(2, dtype=np.uint8)[LABELS % 2]
    with pytest.raises(BadData, match=r"labels looks like one-hot labels\. Store labels\.argmax"):
        read(store(tmp_path / "a.h5", images=pixels, labels=one_hot))
    with pytest.raises(BadData, match="labels looks like several classes per image"):
        read(store(tmp_path / "b.h5", images=pixels, labels=np.ones_like(one_hot)))


def test_boxes_are_no_labels(tmp_path: Path, pixels: np.ndarray) -> None:
    boxes = np.arange(len(pixels) * 4, dtype=np.float32).reshape(-1, 4)
    assert {record.split for record in read(store(tmp_path / "a.h5", images=pixels, boxes=boxes)).records} == {
        "predict"
    }
