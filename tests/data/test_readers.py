"""A path is opened by the reader that recognises it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clearsight.core.dataset import ReadOptions
from clearsight.core.errors import BadChoice, BadData, NotFound
from clearsight.data.readers import open_listing


@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("intel-scenes", "folders", 1020),
        ("dog-breeds", "folders", 814),
        ("isic-2024", "hdf5-table", 1003),
        ("isic-2024/test-image.hdf5", "hdf5-table", 3),
        ("cifar-10", "cifar", 1000),
        ("cifar-10/cifar-10-batches-py", "cifar", 1000),
        ("bad-inputs", "folders", 40),
    ],
)
def test_each_dataset_finds_its_reader(shared: Path, name: str, format: str, count: int) -> None:
    listing = open_listing(shared / "data" / name)
    assert (listing.format, len(listing.records)) == (format, count)


def test_a_named_format_with_options(shared: Path) -> None:
    path = shared / "data/imagenet-sample/labels.csv"
    listing = open_listing(path, "table", ReadOptions(label_column="name"))
    assert listing.records[0].label == "house finch, linnet, Carpodacus mexicanus"


def test_an_unknown_format_shows_the_near_one(shared: Path) -> None:
    with pytest.raises(BadChoice, match="Did you mean folders"):
        open_listing(shared, "folder")


def test_a_missing_path_shows_the_near_one(shared: Path) -> None:
    with pytest.raises(NotFound, match=r"no such file or folder\. Did you mean .*intel-scenes"):
        open_listing(shared / "data" / "intel-scene")


def test_a_path_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"the folder is empty\. Expected a folder of class folders"):
        open_listing(tmp_path)
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(BadData, match="none of its files"):
        open_listing(tmp_path)
    with pytest.raises(BadData, match="one file of no known dataset format"):
        open_listing(tmp_path / "notes.txt")


def test_the_wrong_named_format_is_refused(tmp_path: Path, shared: Path) -> None:
    shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "a.jpg")
    for format_name in ("cifar", "hdf5-table", "hdf5-arrays", "archive", "manifest", "lst", "table"):
        with pytest.raises(BadData):
            open_listing(tmp_path, format_name)


def test_a_spreadsheet_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "labels.xlsx").write_bytes(b"PK")
    with pytest.raises(BadData, match=r"labels\.xlsx: .*Save it as CSV UTF-8\."):
        open_listing(tmp_path / "labels.xlsx")
