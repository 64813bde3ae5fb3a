"""Class folders on a disk, with links, junk files and unusual names."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers.folders import READER


def read(path: Path) -> Listing:
    return READER.read(path, ReadOptions())


def codes(listing: Listing) -> list[str]:
    return [notice.code for notice in listing.notices]


@pytest.fixture
def pets(tmp_path: Path, shared: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "pets" / name / "1.jpg")
    return tmp_path / "pets"


def test_intel_scenes_has_its_splits_and_classes(shared: Path) -> None:
    listing = read(shared / "data" / "intel-scenes")
    assert Counter(record.split for record in listing.records) == {"train": 720, "test": 240, "predict": 60}
    assert len({record.label for record in listing.records if record.label}) == 6
    assert listing.notices == ()


def test_dog_breeds_has_its_splits(shared: Path) -> None:
    listing = read(shared / "data" / "dog-breeds")
    assert Counter(record.split for record in listing.records) == {"train": 526, "valid": 144, "test": 144}
    assert listing.notices == ()


def test_image_files_are_listed_even_if_damaged(shared: Path) -> None:
    names = {record.locator for record in read(shared / "data" / "bad-inputs").records}
    assert {"vector.svg", "zero_byte.jpg", "no_extension", "UPPERCASE.JPEG", "schöne Straße 街 photo (1).jpg"} <= names
    assert not names & {"Thumbs.db", "manifest.csv", "._resource_fork.jpg"}


def test_odd_names_are_read(pets: Path) -> None:
    odd = "100% [copy] #1 & more 街.jpg"
    (pets / "cat" / "1.jpg").rename(pets / "cat" / odd)
    listing = read(pets)
    assert listing.records[0].locator == f"cat/{odd}"
    assert listing.source.read(f"cat/{odd}") == (pets / "cat" / odd).read_bytes()


def test_notebook_copies_are_left_out_and_reported(pets: Path) -> None:
    shutil.copytree(pets / "cat", pets / "cat" / ".ipynb_checkpoints")
    listing = read(pets)
    assert len(listing.records) == 2
    assert codes(listing) == ["ipynb-checkpoints"]


def test_linked_class_folders_are_followed(pets: Path, tmp_path: Path) -> None:
    shutil.move(pets / "dog", tmp_path / "elsewhere")
    (pets / "dog").symlink_to(tmp_path / "elsewhere")
    assert {record.label for record in read(pets).records} == {"cat", "dog"}


def test_a_loop_of_links_ends_and_is_reported(pets: Path) -> None:
    (pets / "cat" / "again").symlink_to(pets)
    listing = read(pets)
    assert len(listing.records) == 2
    assert codes(listing) == ["link-loop"]


def test_a_broken_link_is_listed_so_that_it_gets_reported(pets: Path) -> None:
    (pets / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    assert "cat/gone.jpg" in {record.locator for record in read(pets).records}


def test_a_pipe_is_not_an_image(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "pipe.jpg")
    assert len(read(pets).records) == 2


def test_a_name_that_is_not_text_is_left_out_and_reported(pets: Path) -> None:
    try:
        (pets / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has no such names")
    assert codes(read(pets)) == ["undecodable-name"]


def test_a_table_next_to_unsorted_images_is_reported(shared: Path) -> None:
    listing = read(shared / "data" / "imagenet-sample")
    assert codes(listing) == ["table-beside"]
    assert "labels.csv" in listing.notices[0].text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    assert not READER.recognises(tmp_path / "a.jpg")
    with pytest.raises(BadData, match="not a folder"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("column", ["label_column", "split_column", "group_column"])
def test_a_column_cannot_be_chosen_of_class_folders(pets: Path, column: str) -> None:
    (pets / "labels.csv").write_text("path,label\n")
    flag = f"--{column.replace('_', '-')} breed"
    with pytest.raises(BadData, match=f"{flag}: class folders have no columns. Pass the table itself: .*labels"):
        READER.read(pets, ReadOptions(**{column: "breed"}))


def test_class_folders_take_no_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"--image-folder x: class folders hold their images themselves. Leave it out"):
        READER.read(tmp_path, ReadOptions(image_folder="x"))


def test_the_level_of_classes_is_read_from_folders(pets: Path) -> None:
    shutil.copytree(pets / "cat", pets / "wild" / "fox")
    shutil.move(pets / "cat", pets / "tame" / "cat")
    shutil.move(pets / "dog", pets / "tame" / "dog")
    listing = READER.read(pets, ReadOptions(class_level=2))
    assert {record.label for record in listing.records} == {"cat", "dog", "fox"}


def test_the_advice_for_unsorted_images_begins_with_the_training_table(pets: Path) -> None:
    (pets / "train").mkdir()
    shutil.move(pets / "cat" / "1.jpg", pets / "train" / "1.jpg")
    shutil.rmtree(pets / "dog")
    for name in ("sample_submission.csv", "test.csv", "train.csv"):
        (pets / name).touch()
    with pytest.raises(BadData, match=r"train/ holds images directly.*pass it: \S*train\.csv, "):
        read(pets)
