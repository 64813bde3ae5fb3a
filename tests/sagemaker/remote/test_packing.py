"""Archives that are submitted: what is in them, and that equal content makes equal bytes."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from clearsight.core.errors import BadData
from clearsight.core.recipe import Recipe
from clearsight_sagemaker.remote.packing import pack_data, source_archive
from clearsight_sagemaker.remote.wheel import wheel_bytes, wheel_name


def members(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_pip_installs_the_wheel(tmp_path: Path) -> None:
    assert wheel_bytes() == wheel_bytes()
    wheel = tmp_path / wheel_name()
    wheel.write_bytes(wheel_bytes())
    words = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        tmp_path / "site",
        wheel,
    ]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    code = "import clearsight, clearsight.workflow.train as train; print(clearsight.__file__, train.train.__name__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(tmp_path / "site" / "clearsight" / "__init__.py"), "train"]


def test_source_of_equal_jobs_is_equal() -> None:
    first, again = (source_archive(Recipe(), {"data": "photos"}) for _ in range(2))
    assert first == again
    assert first != source_archive(Recipe().replace(lr=0.5), {"data": "photos"})


def test_a_folder_is_packed_without_hidden_files(scenes: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "forest").mkdir(parents=True)
    image = next((scenes / "seg_train" / "forest").glob("*.jpg"))
    (photos / "forest" / "a.jpg").symlink_to(image)
    (photos / ".cache").mkdir()
    (photos / ".cache" / "b.jpg").write_bytes(b"x")
    (photos / ".DS_Store").write_bytes(b"x")
    found = pack_data(photos, Recipe(), tmp_path)
    assert (found.data, found.name, found.files, found.is_archive) == ("photos", "photos.tar", 1, True)
    with tarfile.open(found.file) as tar:
        [member] = tar.getmembers()
        assert (member.name, member.isfile(), member.size) == ("photos/forest/a.jpg", True, image.stat().st_size)


def test_a_table_takes_its_images_along(tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "table", tmp_path / "elsewhere"
    for folder in (beside, elsewhere):
        folder.mkdir()
        (folder / "a.png").write_bytes(b"image")
        (folder / "notes.docx").write_bytes(b"no image")
    table = beside / "dogs.csv"
    table.write_text("path,label\na.png,beagle\n")
    found = pack_data(table, Recipe(), tmp_path)
    assert (found.data, sorted(members(found.file))) == ("dogs.csv", ["a.png", "dogs.csv"])
    found = pack_data(table, Recipe().replace(image_folder=str(elsewhere)), tmp_path)
    assert sorted(members(found.file)) == ["dogs.csv", "images/a.png"]
    assert found.recipe.data.image_folder == "images"


def test_a_single_file_is_uploaded_as_it_is(shared: Path, tmp_path: Path) -> None:
    [file] = sorted((shared / "data" / "isic-2024").glob("*.hdf5"))[:1]
    found = pack_data(file, Recipe(), tmp_path)
    assert (found.file, found.data, found.is_archive) == (file, file.name, False)


def test_an_empty_folder_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="there are no files to submit"):
        pack_data(tmp_path / "empty", Recipe(), tmp_path)
