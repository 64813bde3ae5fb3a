"""HDF5 arrays of pixels and labels under their usual names."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData
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


def encoded(image: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(image).save(held, "PNG")
    return held.getvalue()


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


@pytest.mark.parametrize("layout", ["NCHW", "NHW", "NHW1", "NHW4", "0 to 1", "16 bits", "encoded"])
def test_other_layouts_become_rgb(tmp_path: Path, pixels: np.ndarray, layout: str) -> None:
    stored = {
        "NCHW": pixels.transpose(0, 3, 1, 2),
        "NHW": pixels[..., 0],
        "NHW1": pixels[..., :1],
        "NHW4": np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1),
        "0 to 1": pixels.astype(np.float32) / 255,
        "16 bits": pixels.astype(np.uint16) * 257,
        "encoded": np.array([encoded(image).ljust(9000, b"\0") for image in pixels], "V9000"),
    }[layout]
    expected = np.repeat(pixels[2, :, :, :1], 3, axis=2) if layout in ("NHW", "NHW1") else pixels[2]
    listing = read(store(tmp_path / "a.h5", images=stored, labels=LABELS))
    assert [record.label for record in listing.records] == ["0", "1", "1", "0"]
    np.testing.assert_array_equal(decode(listing.source.read(listing.records[2].locator)), expected)


def test_masks_of_true_and_false_are_black_and_white(tmp_path: Path, pixels: np.ndarray) -> None:
    masks = pixels[..., 0] > np.median(pixels[..., 0])
    listing = read(store(tmp_path / "a.h5", images=masks, labels=LABELS))
    read_again = [decode(listing.source.read(record.locator))[:, :, 0] for record in listing.records]
    np.testing.assert_array_equal(read_again, np.where(masks, 255, 0))


def test_a_folder_of_files_named_by_split(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("train", "test"):
        store(tmp_path / f"{name}.h5", images=pixels, labels=LABELS)
    assert Counter(record.split for record in read(tmp_path).records) == {"train": 4, "test": 4}


@pytest.mark.parametrize("other", ["coarse", "image_id", "age", "index"])
def test_of_several_candidates_the_usual_name_is_taken_and_the_flag_named(
    tmp_path: Path, pixels: np.ndarray, other: str
) -> None:
    path = store(tmp_path / "a.h5", images=pixels, labels=LABELS, **{other: LABELS + 5})
    listing = read(path)
    assert {record.label for record in listing.records} == {"0", "1"}
    [notice] = listing.notices
    assert notice.text == f"classes of images are read from labels; --label-column {other} would take the other"
    assert {record.label for record in read(path, label_column=other).records} == {"5", "6"}


def test_candidates_of_which_none_has_a_usual_name_are_an_error_with_the_flag(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    path = store(tmp_path / "a.h5", images=pixels, fruit=LABELS, colour=LABELS)
    with pytest.raises(
        BadData, match=r"colour, fruit may all be the labels of images\. Choose one with --label-column"
    ):
        read(path)
    with pytest.raises(BadChoice, match=r"--label-column fruits: .*Did you mean fruit\?"):
        read(path, label_column="fruits")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("labels", LABELS[:-1], "labels has 3 values for 4 images"),
        ("labels", np.eye(4)[LABELS] / 2, "labels has rows of 4 values that are not one-hot"),
        ("labels", np.zeros((4, 3, 2)), "labels has the shape (4, 3, 2)"),
        ("image_id", np.array([b"a", b"b", b"c", b"d"]), "image_id names the images"),
        ("file_names", np.array([b"a", b"b", b"c", b"d"]), "file_names names the images"),
    ],
)
def test_an_array_that_is_not_taken_as_labels_is_named_with_the_reason(
    tmp_path: Path, pixels: np.ndarray, name: str, values: np.ndarray, reason: str
) -> None:
    listing = read(store(tmp_path / "a.h5", images=pixels, **{name: values}))
    assert {(record.label, record.split) for record in listing.records} == {(None, "predict")}
    [notice] = listing.notices
    assert (notice.code, notice.text) == (
        "no-labels",
        f"a.h5: no array was taken as the labels of images (4 images): {reason}",
    )


@pytest.mark.parametrize("kind", ["bytes", "text"])
def test_labels_may_be_names(tmp_path: Path, pixels: np.ndarray, kind: str) -> None:
    words = ["sea", "forest", "forest", "sea"]
    values = np.array([word.encode() for word in words]) if kind == "bytes" else np.array(words, h5py.string_dtype())
    listing = read(store(tmp_path / "a.h5", images=pixels, labels=values))
    assert [record.label for record in listing.records] == words


@pytest.mark.parametrize(
    "names", [["sea", "forest"], '["sea", "forest"]', '{"0": "sea", "1": "forest"}', '{"sea": 0, "forest": 1}']
)
@pytest.mark.parametrize("holder", ["labels", "/"])
def test_class_names_may_be_an_attribute(tmp_path: Path, pixels: np.ndarray, names: object, holder: str) -> None:
    path = store(tmp_path / "a.h5", images=pixels, labels=LABELS)
    with h5py.File(path, "a") as file:
        file[holder].attrs["class_names"] = names
    listing = read(path)
    assert listing.classes == ("sea", "forest")
    assert [record.label for record in listing.records] == ["sea", "forest", "forest", "sea"]


def test_labels_may_be_an_attribute_of_the_images(tmp_path: Path, pixels: np.ndarray) -> None:
    path = store(tmp_path / "a.h5", images=pixels)
    with h5py.File(path, "a") as file:
        file["images"].attrs["labels"] = LABELS
    assert [record.label for record in read(path).records] == ["0", "1", "1", "0"]


@pytest.mark.parametrize(("sea", "forest"), [("sea", "forest"), ("sea__images", "forest__images")])
def test_an_array_per_class_is_labelled_by_its_name(tmp_path: Path, pixels: np.ndarray, sea: str, forest: str) -> None:
    listing = read(store(tmp_path / "a.h5", **{sea: pixels[:1], forest: pixels}))
    assert Counter(record.label for record in listing.records) == {"forest": 4, "sea": 1}


def test_images_and_masks_are_no_classes(tmp_path: Path, pixels: np.ndarray) -> None:
    listing = read(store(tmp_path / "a.h5", images=pixels, masks=pixels[..., 0]))
    assert {record.label for record in listing.records} == {None}


@pytest.mark.parametrize(
    "names",
    [
        ("a__b__c__images", "a__b__c__labels"),
        ("images__train", "labels__train"),
        ("data__train__x", "data__train__y"),
    ],
)
def test_labels_in_nested_groups(tmp_path: Path, pixels: np.ndarray, names: tuple[str, str]) -> None:
    listing = read(store(tmp_path / "a.h5", **{names[0]: pixels, names[1]: LABELS}))
    assert [record.label for record in listing.records] == ["0", "1", "1", "0"]


@pytest.mark.parametrize("whole", [True, False], ids=["folder", "one file of it"])
def test_labels_may_be_in_a_second_file(tmp_path: Path, pixels: np.ndarray, whole: bool) -> None:
    for split in ("train", "valid"):  # as PatchCamelyon: labels of the shape (N, 1, 1, 1)
        store(tmp_path / f"level_2_split_{split}_x.h5", x=pixels)
        store(
            tmp_path / f"level_2_split_{split}_y.h5",
            y=(1 - LABELS if split == "valid" else LABELS)[:, None, None, None],
        )
    listing = read(tmp_path if whole else tmp_path / "level_2_split_train_x.h5")
    assert Counter(record.split for record in listing.records) == {"train": 4, **({"valid": 4} if whole else {})}
    by_split = {split: [r.label for r in listing.records if r.split == split] for split in ("train", "valid")}
    assert by_split == {"train": ["0", "1", "1", "0"], "valid": ["1", "0", "0", "1"] if whole else []}


def test_a_file_of_another_name_is_not_looked_at(tmp_path: Path, pixels: np.ndarray) -> None:
    store(tmp_path / "cats.h5", labels=LABELS, classes=np.array([b"a", b"b"]))
    listing = read(store(tmp_path / "dogs.h5", images=pixels))
    assert ({record.label for record in listing.records}, listing.classes) == ({None}, ())


def test_class_names_of_one_split_hold_for_the_others(tmp_path: Path, pixels: np.ndarray) -> None:
    store(tmp_path / "train.h5", images=pixels, labels=LABELS, classes=np.array([b"sea", b"forest"]))
    store(tmp_path / "test.h5", images=pixels, labels=LABELS)
    listing = read(tmp_path)
    assert Counter((record.split, record.label) for record in listing.records) == {
        (split, name): 2 for split in ("train", "test") for name in ("sea", "forest")
    }


def test_labels_that_do_not_fit_are_not_replaced_by_those_of_another_file(tmp_path: Path, pixels: np.ndarray) -> None:
    store(tmp_path / "labels.h5", labels=LABELS)
    listing = read(store(tmp_path / "a.h5", images=pixels, labels=LABELS[:-1]))
    assert {record.label for record in listing.records} == {None}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((4, 3072), np.uint8), r"rows of 3,072 numbers, not images; .* perhaps \(N, 32, 32, 3\)"),
        (np.zeros((4, 784), np.uint8), r"perhaps \(N, 28, 28, 1\)"),
        (np.zeros((32, 48, 3, 4), np.uint8), "the images must be along its first axis"),
        (np.zeros((3, 3, 3, 64), np.uint8), r"it holds data \(3, 3, 3, 64\) uint8"),
    ],
)
def test_a_file_without_images_says_what_it_holds(tmp_path: Path, values: np.ndarray, words: str) -> None:
    with pytest.raises(BadData, match=words):
        read(store(tmp_path / "a.h5", data=values, labels=LABELS))


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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_])
def test_one_hot_labels_are_read_and_several_classes_refused(tmp_path: Path, pixels: np.ndarray, dtype: type) -> None:
    one_hot = np.eye(3)[LABELS + 1].astype(dtype)
    listing = read(store(tmp_path / "a.h5", images=pixels, labels=one_hot))
    assert [record.label for record in listing.records] == ["1", "2", "2", "1"]
    with pytest.raises(BadData, match="labels looks like several classes per image"):
        read(store(tmp_path / "b.h5", images=pixels, labels=np.ones_like(one_hot)))


def test_a_row_of_zeros_has_no_label(tmp_path: Path, pixels: np.ndarray) -> None:
    one_hot = np.eye(3)[LABELS]
    one_hot[3] = 0
    records = read(
        store(tmp_path / "a.h5", images=pixels, labels=one_hot, classes=np.array([b"x", b"y", b"z"]))
    ).records
    assert [(record.label, record.split) for record in records] == [
        *(("x", None), ("y", None), ("y", None), (None, "predict")),
    ]


def test_boxes_are_no_labels(tmp_path: Path, pixels: np.ndarray) -> None:
    boxes = np.arange(len(pixels) * 4, dtype=np.float32).reshape(-1, 4)
    assert {record.split for record in read(store(tmp_path / "a.h5", images=pixels, boxes=boxes)).records} == {
        "predict"
    }
