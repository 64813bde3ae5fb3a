"""Parquet with the images in it: the Hugging Face hub's columns, names, shards; row groups are read one by one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData, BadImage, ClearsightError, MissingExtra
from clearsight.data.decode import decode
from clearsight.data.readers import open_listing
from clearsight.data.readers.parquet_images import READER

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def files(shared: Path) -> list[Path]:
    folder = shared / "data" / "intel-scenes" / "seg_test"
    return [file for name in ("forest", "sea") for file in sorted((folder / name).iterdir())[:3]]


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = arrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path, **more)
    return path


def structs(files: list[Path]) -> list[dict[str, Any]]:
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]


def read(path: Path, **options: str) -> Listing:
    assert READER.recognises(path)
    return READER.read(path, ReadOptions(**options))


LABELS = [1, 1, 1, 0, 0, 0]
NAMES = {"_type": "ClassLabel", "names": ["sea", "forest"]}


def test_shards_of_the_hub_are_read_with_names_and_splits(tmp_path: Path, files: list[Path]) -> None:
    columns = {"image": structs(files), "label": LABELS}
    for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001", "test-00000-of-00001"):
        write(tmp_path / "data" / f"{name}-0a1b2c.parquet", columns, {"label": NAMES}, row_group_size=4)
    (tmp_path / "README.md").write_text("a card")
    listing = open_listing(tmp_path)
    assert listing.format == "parquet-images"
    assert listing.classes == ("sea", "forest")
    assert Counter((record.split, record.label) for record in listing.records) == {
        **{("train", name): 6 for name in ("sea", "forest")},
        **{(split, name): 3 for split in ("valid", "test") for name in ("sea", "forest")},
    }
    for record, file in zip(listing.records[::-1], files[::-1], strict=False):  # from the last row group
        assert listing.source.read(record.locator) == file.read_bytes()


@pytest.mark.parametrize("path", ["default/train/0000.parquet", "train.parquet", "a/train-00000.parquet"])
def test_the_split_may_be_a_folder(tmp_path: Path, files: list[Path], path: str) -> None:
    write(tmp_path / path, {"image": structs(files), "label": LABELS})
    assert {record.split for record in read(tmp_path).records} == {"train"}


@pytest.mark.parametrize("image", ["image", "img", "picture of it"])
@pytest.mark.parametrize("raw", [True, False], ids=["binary", "struct"])
def test_columns_of_other_names_and_raw_bytes(tmp_path: Path, files: list[Path], image: str, raw: bool) -> None:
    values = [file.read_bytes() for file in files] if raw else structs(files)
    path = write(tmp_path / "a.parquet", {"key": [b"x"] * 6, image: values, "label": ["sea"] * 3 + ["forest"] * 3})
    listing = open_listing(path)
    assert [record.label for record in listing.records] == ["sea"] * 3 + ["forest"] * 3
    assert decode(listing.source.read(listing.records[5].locator)).shape[2] == 3


def test_several_labels_are_chosen_by_the_flag(tmp_path: Path, files: list[Path]) -> None:
    columns = {"img": structs(files), "fine_label": [0, 1, 2, 3, 4, 5], "coarse_label": LABELS}
    features = {"fine_label": {"_type": "ClassLabel", "names": list("abcdef")}, "coarse_label": NAMES}
    path = write(tmp_path / "train.parquet", columns, features)
    listing = read(path)
    assert listing.classes == tuple("abcdef")
    [notice] = listing.notices
    assert "--label-column coarse_label would take the other" in notice.text
    assert read(path, label_column="coarse_label").classes == ("sea", "forest")
    with pytest.raises(ClearsightError, match="Did you mean coarse_label"):
        read(path, label_column="coarse_lable")


def test_a_row_without_label_or_image(tmp_path: Path, files: list[Path]) -> None:
    images = [*structs(files[:4]), {"bytes": None, "path": "elsewhere.jpg"}, None]
    path = write(tmp_path / "test.parquet", {"image": images, "label": [0, 1, -1, None, 0, 1]}, {"label": NAMES})
    listing = read(path)
    assert [(record.label, record.split) for record in listing.records[1:5]] == [
        *(("forest", "test"), (None, "predict"), (None, "predict"), ("sea", "test")),
    ]
    with pytest.raises(BadImage, match=r"its row holds the path elsewhere.jpg and no bytes"):
        listing.source.read(listing.records[4].locator)
    with pytest.raises(BadImage, match="its row holds no image"):
        listing.source.read(listing.records[5].locator)


def test_several_classes_per_image_are_refused(tmp_path: Path, files: list[Path]) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(files), "labels": [[0, 1]] * 6})
    with pytest.raises(BadData, match=r"'labels' holds several values per image \(multi-label\)"):
        read(path)


def test_a_table_without_labels_names_its_columns(tmp_path: Path, files: list[Path]) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs(files), "width": [1.5] * 6, "when": [2.5] * 6})
    listing = read(path)
    assert {record.split for record in listing.records} == {"predict"}
    assert "it has width, when; choose one with --label-column" in listing.notices[0].text


def test_a_table_of_paths_is_left_to_the_reader_of_tables(tmp_path: Path) -> None:
    assert not READER.recognises(write(tmp_path / "a.parquet", {"path": ["a.jpg"], "label": ["sea"]}))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "data" / "train.parquet", {"image": structs(files), "label": LABELS})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    for dataset in (tmp_path, path):
        with pytest.raises(MissingExtra, match=r"clearsight\[parquet\]"):
            open_listing(dataset)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 100_000), byte=st.integers(0, 255), cut=st.integers(0, 60))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, files: list[Path], at: int, byte: int, cut: int) -> None:
    path = tmp_path / "whole.parquet"
    if not path.exists():
        write(path, {"image": structs(files[:2]), "label": [0, 1]})
    data = bytearray(path.read_bytes())
    data[-1 - at % 3000] = byte  # the footer describes the file
    broken = tmp_path / "a.parquet"
    broken.write_bytes(data[: len(data) - cut])
    try:
        listing = READER.read(broken, ReadOptions())
        for record in listing.records:
            decode(listing.source.read(record.locator))
    except ClearsightError:
        pass
