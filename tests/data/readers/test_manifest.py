"""Augmented manifests whose images lie on the local disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData
from clearsight.data.readers.manifest import READER


@pytest.fixture
def folder(tmp_path: Path, shared: Path) -> Path:
    (tmp_path / "pets" / "img").mkdir(parents=True)
    for name in ("a.jpg", "b c.jpg"):
        shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "pets" / "img" / name)
    return tmp_path


def read(folder: Path, *rows: dict[str, Any], **options: str) -> Listing:
    (folder / "m.manifest").write_text("\n".join(json.dumps(row) for row in rows))
    assert READER.recognises(folder / "m.manifest")
    return READER.read(folder / "m.manifest", ReadOptions(**options))


def test_addresses_are_found_by_the_end_of_their_key(folder: Path) -> None:
    listing = read(
        folder,
        {"source-ref": "s3://bucket/deep/pets/img/a.jpg", "class": "0"},
        {"source-ref": "s3://bucket/deep/pets/img/b c.jpg", "class": "1"},
    )
    assert [record.locator for record in listing.records] == ["pets/img/a.jpg", "pets/img/b c.jpg"]
    assert listing.source.read("pets/img/b c.jpg")


def test_local_paths_and_file_addresses(folder: Path) -> None:
    listing = read(
        folder,
        {"source-ref": "pets/img/a.jpg", "class": 0},
        {"source-ref": f"file://{folder}/pets/img/b%20c.jpg", "class": 1},
    )
    assert [(r.locator, r.label) for r in listing.records] == [("pets/img/a.jpg", "0"), ("pets/img/b c.jpg", "1")]


def test_class_names_of_a_labelling_job(folder: Path) -> None:
    row = {"source-ref": "pets/img/a.jpg", "my-job": 4, "my-job-metadata": {"class-name": "cat", "confidence": 0.9}}
    assert read(folder, row).records[0].label == "cat"


def test_an_attribute_is_chosen_by_name(folder: Path) -> None:
    metadata = {"class-name": "cat"}
    row = {"source-ref": "pets/img/a.jpg", "one": 0, "one-metadata": metadata, "two": 5, "two-metadata": {}}
    assert read(folder, row, label_column="two").records[0].label == "5"
    with pytest.raises(BadChoice, match=r"--label-column\. Allowed: one, two"):
        read(folder, row)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"source-ref": "s3://bucket/gone.jpg", "class": 0}, "none of its 1 images exists"),
        ({"source-ref": "pets/img/a.jpg", "class": [1, 2]}, "several values"),
        ({"source-ref": 5, "class": 1}, 'no "source-ref"'),
    ],
)
def test_unusable_lines_are_refused(folder: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(BadData, match=words):
        read(folder, row)


def test_other_json_lines_are_not_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"path": "a.jpg", "label": "cat"}\n')
    assert not READER.recognises(tmp_path / "a.jsonl")


def test_the_split_of_a_line_is_read_or_refused(folder: Path) -> None:
    row = {"source-ref": "pets/img/a.jpg", "class": "0"}
    assert read(folder, {**row, "split": "validation"}).records[0].split == "valid"
    assert read(folder, {**row, "part": "test"}, split_column="part").records[0].split == "test"
    with pytest.raises(BadChoice, match=r"line 1: split 'trian' is not known.*Did you mean train"):
        read(folder, {**row, "split": "trian"})
