"""NumPy files: MedMNIST, Keras and plain names; nothing is unpickled, and a file that is cut off is one sentence."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData, ClearsightError
from clearsight.data.decode import decode
from clearsight.data.readers.numpy_arrays import READER


@pytest.fixture(scope="module")
def pixels(shared: Path) -> np.ndarray:
    """(6, 28, 28, 3) uint8 from real scenes."""
    files = sorted((shared / "data/intel-scenes/seg_test/sea").iterdir())[:6]
    return np.stack([decode(file.read_bytes())[:28, :28] for file in files])


LABELS = np.array([0, 1, 2, 2, 1, 0])


def read(path: Path, **options: str) -> Listing:
    assert READER.recognises(path)
    return READER.read(path, ReadOptions(**options))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("gray", [True, False], ids=["gray", "RGB"])
def test_medmnist(tmp_path: Path, pixels: np.ndarray, save: object, gray: bool) -> None:
    shown = pixels[..., 0] if gray else pixels
    arrays = {f"{name}_images": shown for name in ("train", "val", "test")}
    labels = {f"{name}_labels": LABELS[:, None].astype(np.uint8) for name in ("train", "val", "test")}
    save(tmp_path / "pathmnist.npz", **arrays, **labels)  # type: ignore[operator]
    listing = read(tmp_path / "pathmnist.npz")
    assert Counter(record.split for record in listing.records) == {"train": 6, "valid": 6, "test": 6}
    assert [record.label for record in listing.records[:6]] == ["0", "1", "2", "2", "1", "0"]
    expected = np.repeat(pixels[..., :1], 3, axis=3) if gray else pixels
    for record, image in zip(listing.records, [*expected] * 3, strict=True):
        np.testing.assert_array_equal(decode(listing.source.read(record.locator)), image)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("x_train", "y_train", "x_test", "y_test"), {"train": 6, "test": 6}),  # mnist.npz of Keras
        (("X", "y"), {None: 6}),
        (("images", "labels"), {None: 6}),
        (("data", "targets"), {None: 6}),
        (("train_x", "train_y", "test_x"), {"train": 6, "predict": 6}),
    ],
)
def test_usual_names(tmp_path: Path, pixels: np.ndarray, names: tuple[str, ...], splits: dict[str | None, int]) -> None:
    kinds = {name: LABELS if {"y", "labels", "targets"} & {*name.split("_")} else pixels for name in names}
    np.savez(tmp_path / "a.npz", **kinds)
    assert Counter(record.split for record in read(tmp_path / "a.npz").records) == splits


def test_the_order_of_columns_and_of_bytes_is_that_of_the_file(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=np.asfortranarray(pixels.astype(">u2") * 257), labels=LABELS.astype(">i8"))
    listing = read(tmp_path / "a.npz")
    assert [record.label for record in listing.records] == ["0", "1", "2", "2", "1", "0"]
    np.testing.assert_array_equal(decode(listing.source.read(listing.records[3].locator)), pixels[3])


@pytest.mark.parametrize("key", ["labels", "images"])
def test_an_array_of_objects_is_refused_before_it_is_unpickled(tmp_path: Path, pixels: np.ndarray, key: str) -> None:
    arrays = {"images": pixels, "labels": LABELS}
    np.savez(tmp_path / "a.npz", **{**arrays, key: np.array([{"a": 1}] * 6, dtype=object)})
    with pytest.raises(BadData, match=rf"{key} is an array of Python objects, .* no pickle is loaded"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "one file of it"])
def test_a_pair_of_npy_files(tmp_path: Path, pixels: np.ndarray, whole: bool) -> None:
    for split in ("train", "test"):
        np.save(tmp_path / f"{split}_images.npy", pixels)
        np.save(tmp_path / f"{split}_labels.npy", np.array(["a", "b", "c"])[LABELS])
    listing = read(tmp_path if whole else tmp_path / "train_images.npy")
    assert {record.label for record in listing.records} == {"a", "b", "c"}
    assert Counter(r.split for r in listing.records) == ({"train": 6, "test": 6} if whole else {"train": 6})


def test_several_labels_are_chosen_by_the_flag(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=pixels, fine_labels=LABELS, coarse_labels=LABELS // 2)
    assert {record.label for record in read(tmp_path / "a.npz").records} == {"0", "1", "2"}
    assert {record.label for record in read(tmp_path / "a.npz", label_column="coarse_labels").records} == {"0", "1"}
    with pytest.raises(BadChoice, match="Did you mean coarse_labels"):
        read(tmp_path / "a.npz", label_column="coarse_label")


def test_features_and_masks_are_no_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", features=np.zeros((6, 12)), ids=np.arange(6))
    with pytest.raises(BadData, match=r"no array in it has the shape of images, .*it holds features \(6, 12\) float64"):
        read(tmp_path / "a.npz")
    assert not READER.recognises(tmp_path)


def packed(compress: bool) -> bytes:
    held = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(held, images=np.zeros((6, 9, 9), np.uint8), labels=LABELS)
    return held.getvalue()


@pytest.mark.parametrize("compress", [True, False])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000), at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, compress: bool, cut: int, at: int, byte: int) -> None:
    data = bytearray(packed(compress))
    data[at % len(data)] = byte
    path = tmp_path / "a.npz"
    path.write_bytes(data[: len(data) - cut % 40])
    try:
        listing = READER.read(path, ReadOptions())
        for record in listing.records:
            decode(listing.source.read(record.locator))
    except ClearsightError:
        pass
