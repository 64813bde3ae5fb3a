"""Sources list the images of every kind of input, in order, under names that files can have."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from clearsight.core.errors import BadImage, EmptyInput, NotFound
from clearsight.workflow.transform.sources import InputSource, check_source, open_source


@pytest.fixture
def photos(tmp_path: Path, shared: Path) -> Path:
    """A folder with three real images and a file of another kind."""
    scenes = sorted((shared / "data" / "intel-scenes" / "seg_pred").glob("*.jpg"))
    for name, scene in zip(("b.jpg", "a/c.jpg", "a/d.JPG"), scenes, strict=False):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scene, tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def names(source: InputSource) -> list[str]:
    found = [image.name for image in source.images()]
    assert len(found) == source.count
    assert found == [image.name for image in source.images()], "the second pass differs"
    return found


def contents(source: InputSource) -> list[object]:
    return [image.read() for image in source.images()]


def test_a_folder_lists_all_images_below_it(photos: Path) -> None:
    source = open_source(photos)
    assert names(source) == ["b.jpg", "a/c.jpg", "a/d.JPG"]
    assert contents(source) == [(photos / name).read_bytes() for name in names(source)]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_archives_hold_what_the_folder_holds(photos: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photos{suffix}"
    files = sorted(file for file in photos.rglob("*") if file.is_file())
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for file in files:
                packed.write(file, file.relative_to(photos))
    else:
        with tarfile.open(path, f"w:{'gz' if suffix.endswith('gz') else ''}") as tar:
            for file in files:
                tar.add(file, file.relative_to(photos))
    source = open_source(path)
    assert names(source) == ["a/c.jpg", "a/d.JPG", "b.jpg"]
    assert contents(source) == [(photos / name).read_bytes() for name in names(source)]
    assert source.stamp


def test_a_glob_lists_files_by_name(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert names(open_source("**/*.jpg")) == ["a/c.jpg", "b.jpg"]
    assert contents(open_source("**/*.jpg"))[1] == (photos / "b.jpg").read_bytes()


def test_an_hdf5_file_lists_its_keys(shared: Path) -> None:
    source = open_source(shared / "data" / "isic-2024" / "test-image.hdf5")
    assert source.kind == "hdf5-table"
    assert all(name.startswith("ISIC_") for name in names(source))
    assert all(image.stored for image in source.images())


def test_a_csv_has_a_row_per_line_also_for_what_is_not_there(photos: Path) -> None:
    table = photos / "list.csv"
    table.write_text("path,label\nb.jpg,x\ngone.jpg,\na/c.jpg,y\nb.jpg,x\n")
    source = open_source(table)
    assert names(source) == ["b.jpg", "gone.jpg", "a/c.jpg", "b.jpg"]
    images = list(source.images())
    assert images[0].read() == (photos / "b.jpg").read_bytes()
    with pytest.raises(BadImage, match="no such file"):
        images[1].read()


def test_paths_of_a_list_may_be_relative_to_the_working_folder(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text("photos/b.jpg\nphotos/a/c.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert contents(open_source("lists/list.csv"))[0] == (photos / "b.jpg").read_bytes()


def test_json_lines_hold_paths_or_base64(photos: Path) -> None:
    raw = (photos / "b.jpg").read_bytes()
    text = base64.b64encode(raw).decode()
    lines = [
        json.dumps({"path": "b.jpg"}),
        json.dumps("a/c.jpg"),
        "b.jpg",
        "",
        json.dumps({"image": text, "id": "first"}),
        json.dumps({"image": {"b64": text}}),
        json.dumps(text),
        json.dumps({"image": "a/d.JPG"}),
        json.dumps({"b64": "!"}),
        '{"path": "cut',
        json.dumps({"label": 3}),
    ]
    (photos / "list.jsonl").write_text("\n".join(lines))
    source = open_source(photos / "list.jsonl")
    found = names(source)
    assert found == [
        *("b.jpg", "a/c.jpg", "b.jpg", "first", "line-6", "line-7", "a/d.JPG", "line-9", "line-10", "line-11"),
    ]
    images = list(source.images())
    assert [images[place].read() == raw for place in (0, 2, 3, 4, 5)] == [True] * 5
    for place, problem in ((7, "not base64"), (8, "line 10 is not JSON"), (9, "neither a path nor an image")):
        with pytest.raises(BadImage, match=problem):
            images[place].read()


def test_names_become_different_relative_paths(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "a")
    inside = open_source(["c.jpg", "./d.JPG"]).file_names()
    assert [inside("c.jpg"), inside("./d.JPG")] == ["c.jpg", "d.JPG"]
    outside = open_source(["c.jpg", "../b.jpg", str(photos / "b.jpg")]).file_names()
    below = str(photos).lstrip("/")
    assert [outside(name) for name in ("c.jpg", "../b.jpg", str(photos / "b.jpg"))] == [
        *(f"{below}/a/c.jpg", f"{below}/b.jpg", f"{below}/b.jpg"),
    ]


def test_a_missing_input_and_one_without_images_are_errors(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Did you mean"):
        check_source(tmp_path / "photo")
    for source in ([], str(photos / "*.webp")):
        with pytest.raises(EmptyInput, match="there is no image there"):
            open_source(source)
    check_source(os.fspath(photos / "*.webp"))
