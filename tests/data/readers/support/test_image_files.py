"""Images of a table are found where people have them, and never mistaken for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice, BadData, NotFound
from clearsight.data.readers.support.image_files import find_images, folders_with_images

Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return a function that makes files below data/, and returns the path of a table there."""

    def make(*names: str, table: str = "labels.csv") -> Path:
        for name in (*names, table):
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).touch()
        return tmp_path / "data" / table

    return make


def locators(table: Path, *cells: str, image_folder: str | None = None) -> list[str]:
    found = find_images(table, cells, image_folder)
    return [found.locators[cell] for cell in cells if cell not in found.missing]


def test_paths_are_relative_to_the_table(files: Files) -> None:
    found = find_images(files("imgs/a.jpg"), ["imgs/a.jpg", "./imgs/a.jpg", "imgs\\a.jpg"], None)
    assert {*found.locators.values()} == {"imgs/a.jpg"}
    assert found.notices == ()


@pytest.mark.parametrize(
    "cell",
    [
        *("p1", "p1.jpg", "P1.JPG", "imgs/p1.JPG", "p1.png", "train/p1.jpg", "1/2/p1.jpg"),
        *("/home/me/data/imgs/p1.jpg", "/elsewhere/p1.jpg", "C:\\Users\\me\\imgs\\p1.jpg", "C:/Users/me/p1.jpg"),
        *("file:///C:/My%20Data/p1.jpg", "file:///srv/imgs/p1.jpg", "https://host/a/p1.jpg?size=3", "s3://b/k/p1.jpg"),
    ],
)
def test_an_image_is_found_by_its_name(files: Files, cell: str) -> None:
    found = find_images(files("imgs/p1.jpg", "imgs/p11.jpg"), [cell], None)
    assert found.locators == {cell: "imgs/p1.jpg"}
    assert [notice.code for notice in found.notices] == ["found-by-name"]


def test_a_number_without_its_zeros_is_found(files: Files) -> None:
    assert locators(files("imgs/0007.jpg", "imgs/0070.jpg"), "7") == ["imgs/0007.jpg"]


def test_an_id_may_hold_a_point(files: Files) -> None:
    assert locators(files("imgs/a.b.jpg", "imgs/a.jpg"), "a.b", "a") == ["imgs/a.b.jpg", "imgs/a.jpg"]


def test_the_folder_in_a_path_decides_between_images_of_one_name(files: Files) -> None:
    table = files("imgs/cat/1.jpg", "imgs/dog/1.jpg")
    assert locators(table, "/mnt/cat/1.jpg", "/mnt/dog/1.jpg") == ["imgs/cat/1.jpg", "imgs/dog/1.jpg"]


def test_an_image_of_another_folder_is_no_substitute_for_a_missing_one(files: Files) -> None:
    table = files("cat/1.jpg", "dog/2.jpg")
    found = find_images(table, ["cat/1.jpg", "cat/2.jpg"], None)
    assert found.missing == ("cat/2.jpg",)
    assert find_images(table, ["ape/1.jpg", "emu/1.jpg"], None).missing == ("ape/1.jpg", "emu/1.jpg")


def test_images_of_one_name_in_two_folders_need_a_choice(files: Files) -> None:
    table = files("train/p1.jpg", "test/p1.jpg")
    with pytest.raises(
        BadChoice, match=r"p1 may be test/p1\.jpg, train/p1\.jpg; choose with --image-folder\. Allowed: test, train"
    ):
        find_images(table, ["p1"], None)
    assert locators(table, "p1", image_folder="test") == ["test/p1.jpg"]
    with pytest.raises(BadData, match="Write the suffix too"):
        find_images(files("train/p1.png"), ["p1"], "train")


def test_the_name_of_the_table_may_decide(files: Files) -> None:
    assert locators(files("train/p1.jpg", "test/p1.jpg", table="train_labels.csv"), "p1") == ["train/p1.jpg"]


def test_images_beside_the_folder_of_the_table_are_found(files: Files) -> None:
    found = find_images(files("images/p1.jpg", "notes/p1.jpg", table="labels/t.csv"), ["p1.jpg"], None)
    assert found.root.name == "images"
    assert found.locators == {"p1.jpg": "p1.jpg"}
    assert found.notices[0].text == "images are read from ../images/"


def test_two_such_folders_need_a_choice(files: Files) -> None:
    table = files("images/p1.jpg", "train/p1.jpg", table="labels/t.csv")
    with pytest.raises(BadChoice, match=r"choose one with --image-folder\. Allowed: \.\./images, \.\./train"):
        find_images(table, ["p1.jpg"], None)


def test_the_image_folder_is_seen_from_the_table_or_from_here(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    table = files("far/away/p1.jpg", table="tables/t.csv")
    assert locators(table, "p1.jpg", image_folder="../far/away") == ["p1.jpg"]
    monkeypatch.chdir(table.parents[1])
    assert locators(table, "p1.jpg", image_folder="far") == ["away/p1.jpg"]
    assert locators(table, "p1.jpg", image_folder=str(table.parents[1] / "far")) == ["away/p1.jpg"]
    with pytest.raises(NotFound, match="--image-folder fra: there is no such folder"):
        find_images(table, ["p1.jpg"], "fra")


def test_hidden_files_are_not_found(files: Files) -> None:
    table = files("__MACOSX/p1.jpg", ".ipynb_checkpoints/p1.jpg", "imgs/._p1.jpg", "imgs/p1.jpg")
    assert locators(table, "p1") == ["imgs/p1.jpg"]


def test_odd_paths_are_missing_and_nothing_worse(files: Files) -> None:
    cells = ("\0", "x" * 5000, "..", "/", "//", "C:\\", "file://", "a://b", "https://")
    assert find_images(files("imgs/p1.jpg"), cells, None).missing == cells


def test_the_folders_for_a_message(files: Files) -> None:
    assert folders_with_images(files("b/1.jpg", "a/c/1.jpg", "1.jpg").parent) == ["a/c", "b"]
