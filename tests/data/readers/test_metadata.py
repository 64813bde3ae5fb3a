"""Folders of images with a metadata table, as Hugging Face's imagefolder has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers import open_listing
from clearsight.data.readers.metadata import READER


@pytest.fixture
def folder(tmp_path: Path, shared: Path) -> Path:
    for place in ("train/a.jpg", "train/b.jpg", "validation/c.jpg"):
        (tmp_path / "pets" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "pets" / place)
    return tmp_path / "pets"


def rows_of(listing: Listing) -> list[tuple[str, str | None, str | None]]:
    return [(record.locator, record.label, record.split) for record in listing.records]


EXPECTED = [("train/a.jpg", "cat", "train"), ("train/b.jpg", "dog", "train"), ("validation/c.jpg", "cat", "valid")]


def test_each_split_folder_may_have_its_table(folder: Path) -> None:
    (folder / "train/metadata.csv").write_text("file_name,label\na.jpg,cat\nb.jpg,dog\n")
    lines = [json.dumps({"file_name": "c.jpg", "label": "cat"})]
    (folder / "validation/metadata.jsonl").write_text("\n".join(lines))
    listing = open_listing(folder)
    assert listing.format == "metadata"
    assert rows_of(listing) == EXPECTED
    assert listing.source.read("validation/c.jpg")


def test_one_table_may_describe_all_splits(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,label\ntrain/a.jpg,cat\ntrain/b.jpg,dog\nvalidation/c.jpg,cat\n")
    assert rows_of(open_listing(folder)) == EXPECTED


def test_a_table_about_something_else_leaves_class_folders_as_they_are(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,width\ntrain/a.jpg,10\n")
    assert not READER.recognises(folder)
    (folder / "metadata.csv").write_bytes(b"\xff\xfe\x00")
    assert not READER.recognises(folder)


def test_a_folder_without_a_table_is_refused(folder: Path) -> None:
    with pytest.raises(BadData, match=r"there is no metadata\.csv"):
        READER.read(folder, ReadOptions())
