"""Tables of paths and labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData
from clearsight.data.readers.table import READER


@pytest.fixture
def images(tmp_path: Path, shared: Path) -> Path:
    (tmp_path / "img").mkdir()
    for name in ("a.jpg", "b.jpg", "c #1.jpg"):
        shutil.copy(shared / "data/bad-inputs/good.jpg", tmp_path / "img" / name)
    return tmp_path


def read(folder: Path, content: str, **options: str) -> Listing:
    (folder / "t.csv").write_text(content, encoding="utf-8")
    return READER.read(folder / "t.csv", ReadOptions(**options))


def rows_of(listing: Listing) -> list[tuple[str, str | None, str | None]]:
    return [(record.locator, record.label, record.split) for record in listing.records]


def test_path_label_and_split(images: Path) -> None:
    listing = read(images, "filename,class,set\nimg/a.jpg,cat,train\n./img/b.jpg,dog,val\nimg\\c #1.jpg,cat,\n")
    assert rows_of(listing) == [
        ("img/a.jpg", "cat", "train"),
        ("img/b.jpg", "dog", "valid"),
        ("img/c #1.jpg", "cat", None),
    ]
    assert listing.source.read("img/c #1.jpg")


def test_the_only_other_column_is_the_label(images: Path) -> None:
    assert rows_of(read(images, "path,breed\nimg/a.jpg,pug\n")) == [("img/a.jpg", "pug", None)]


def test_paths_without_labels_are_in_the_predict_split(images: Path) -> None:
    assert rows_of(read(images, "path\nimg/a.jpg\n")) == [("img/a.jpg", None, None)]


def test_columns_are_chosen_by_name(images: Path) -> None:
    listing = read(
        images, "where,y,label,part\nimg/a.jpg,1,2,test\n", id_column="where", label_column="y", split_column="part"
    )
    assert rows_of(listing) == [("img/a.jpg", "1", "test")]


def notices_of(listing: Listing) -> dict[str, str]:
    return {notice.code: notice.text for notice in listing.notices}


FOUR = "img/a.jpg,cat,{0}\nimg/b.jpg,dog,{1}\nimg/c #1.jpg,cat,{2}\n"


@pytest.mark.parametrize(
    ("column", "cells", "splits"),
    [
        ("is_valid", ("False", "True", "False"), ["train", "valid", "train"]),
        ("isTrain", ("1", "0", "1"), ["train", "test", "train"]),
        ("Usage", ("Training", "PublicTest", "PrivateTest"), ["train", "valid", "test"]),
        ("partition", ("0", "1", "0"), ["train", "valid", "train"]),
        ("fold", ("train", "val", "test"), ["train", "valid", "test"]),
        ("ML_USE", ("TRAIN", "VALIDATION", "UNASSIGNED"), ["train", "valid", None]),
    ],
)
def test_a_column_that_names_splits_is_read(
    images: Path, column: str, cells: tuple[str, ...], splits: list[str | None]
) -> None:
    listing = read(images, f"path,label,{column}\n" + FOUR.format(*cells))
    assert [record.split for record in listing.records] == splits
    assert "split-column" not in notices_of(listing)


def test_the_reading_of_numbers_as_splits_is_reported(images: Path) -> None:
    listing = read(images, "path,label,split\n" + FOUR.format(0, 0, 1))
    assert notices_of(listing)["split-read"] == "splits are read from column 'split': 0 is train, 1 is valid"


@pytest.mark.parametrize(
    ("column", "cells"), [("fold", (0, 1, 2)), ("split", (1, 1, 0)), ("split", ("True", "False", ""))]
)
def test_a_column_that_looks_like_a_split_and_is_not_read_is_reported(
    images: Path, column: str, cells: tuple[object, ...]
) -> None:
    listing = read(images, f"path,label,{column}\n" + FOUR.format(*cells))
    assert {record.split for record in listing.records} == {None}
    assert f"column {column!r}" in notices_of(listing)["split-column"]
    assert "--split-column" in notices_of(listing)["split-column"]
    with pytest.raises(BadChoice, match=f"--split-column {column}: .*Allowed: train, valid, test, predict"):
        read(images, f"path,label,{column}\n" + FOUR.format(*cells), split_column=column)


def test_the_only_column_beside_the_paths_holds_classes_whatever_its_name(images: Path) -> None:
    listing = read(images, "path,test\nimg/a.jpg,0\nimg/b.jpg,1\n")
    assert [(record.label, record.split) for record in listing.records] == [("0", None), ("1", None)]


def test_splits_are_read_from_paths_where_these_begin_with_them(images: Path) -> None:
    for name in ("train", "val"):
        shutil.copytree(images / "img", images / name)
    listing = read(images, "path,label\ntrain/a.jpg,cat\ntrain/b.jpg,dog\nval/a.jpg,cat\n")
    assert [record.split for record in listing.records] == ["train", "train", "valid"]
    assert "split-read" in notices_of(listing)
    one = read(images, "path,label\ntrain/a.jpg,cat\ntrain/b.jpg,dog\n")
    assert {record.split for record in one.records} == {None}


@pytest.mark.parametrize(
    "header",
    [
        "Unnamed: 0,path,breed",
        ",path,breed",
        "id,filename,breed",
        "row,Image Path,label",
        "id,img,breed",
        "n,foto,breed",
    ],
)
def test_numbers_of_rows_are_neither_paths_nor_classes(images: Path, header: str) -> None:
    rows = "".join(f"{i},img/{name}.jpg,cat\n" for i, name in enumerate(["a", "b", "c #1"] * 5))
    listing = read(images, f"{header}\n{rows}", **({"label_column": "breed"} if header.startswith("n,") else {}))
    assert [(record.locator, record.label) for record in listing.records][:1] == [("img/a.jpg", "cat")]


@pytest.mark.parametrize("name", ["id", "image_id", "ImageID", "img", "file_name", "isic_id", "id_code"])
def test_a_column_of_ids_finds_the_images(images: Path, name: str) -> None:
    listing = read(images, f"{name},label\na,cat\nb,dog\n")
    assert [record.locator for record in listing.records] == ["img/a.jpg", "img/b.jpg"]
    assert "found-by-name" in notices_of(listing)


def test_a_first_line_with_the_id_of_an_image_is_a_row(images: Path) -> None:
    listing = read(images, "a,cat\nb,dog\n")
    assert rows_of(listing) == [("img/a.jpg", "cat", None), ("img/b.jpg", "dog", None)]
    assert notices_of(listing)["no-header"].endswith("the columns are taken for path, label")


def test_accents_are_found_however_they_are_written(images: Path, shared: Path) -> None:
    shutil.copy(shared / "data/bad-inputs/good.jpg", images / "img" / "ga\u0308nse.jpg")
    assert len(read(images, "path,label\ng\u00e4nse.jpg,bird\n").records) == 1


def test_where_no_image_exists_the_error_names_folders_with_images(images: Path) -> None:
    with pytest.raises(BadData, match=r"none of its 1 images exists.*--image-folder\. There are images in img\."):
        read(images, "path,label\nz,cat\n")
    with pytest.raises(BadData, match="Download the images first"):
        read(images, "url,label\nhttps://host/z.jpg,cat\n")


@pytest.mark.parametrize("name", ["patient_id", "Subject", "case-id", "lesion_id"])
def test_groups_are_read_from_a_usual_column(images: Path, name: str) -> None:
    listing = read(images, f"path,label,{name}\n" + FOUR.format("P1", "P1", ""))
    assert listing.group_column == name
    assert [record.group for record in listing.records] == ["P1", "P1", None]


def test_groups_are_read_from_a_chosen_column(images: Path) -> None:
    listing = read(images, "path,label,who\n" + FOUR.format("x", "y", "y"), group_column="who")
    assert (listing.group_column, [record.group for record in listing.records]) == ("who", ["x", "y", "y"])
    with pytest.raises(BadChoice, match=r"--group-column whom.*Did you mean who"):
        read(images, "path,label,who\n" + FOUR.format("x", "y", "y"), group_column="whom")


def test_a_set_column_that_names_no_split_is_not_one(images: Path) -> None:
    assert rows_of(read(images, "path,label,set\nimg/a.jpg,cat,7\n")) == [("img/a.jpg", "cat", None)]


def test_two_usual_label_columns_are_reported(images: Path) -> None:
    listing = read(images, "path,class,label\nimg/a.jpg,c,l\n")
    assert rows_of(listing)[0][1] == "l"
    assert [notice.code for notice in listing.notices] == ["label-column"]


def test_absolute_paths(images: Path, shared: Path) -> None:
    outside = shared / "data/bad-inputs/good.jpg"
    listing = read(images, f"path,label\n{images}/img/a.jpg,cat\n{outside},dog\n")
    assert [record.locator for record in listing.records] == ["img/a.jpg", outside.as_posix()]
    assert all(listing.source.read(record.locator) for record in listing.records)


def test_repeated_rows_count_once_and_contradictions_are_refused(images: Path) -> None:
    listing = read(images, "path,label\nimg/a.jpg,cat\nimg/a.jpg,cat\nimg/b.jpg,dog\n")
    assert len(listing.records) == 2
    assert [notice.code for notice in listing.notices] == ["repeated-row"]
    with pytest.raises(BadData, match=r"line 3: img/a\.jpg is 'dog' here and 'cat' in line 2"):
        read(images, "path,label\nimg/a.jpg,cat\nimg/a.jpg,dog\n")


def test_a_missing_image_is_listed_but_not_if_all_are_missing(images: Path) -> None:
    assert len(read(images, "path,label\nimg/a.jpg,cat\ngone.jpg,dog\n").records) == 2
    with pytest.raises(BadData, match=r"none of its 1 images exists.*gone\.jpg"):
        read(images, "path,label\ngone.jpg,dog\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,label\n", "no rows"),
        ("a,b\n1,2\n", "no column holds the paths, it has a, b"),
        ("path,label\n,cat\n", "line 2: column 'path' is empty"),
    ],
)
def test_unusable_tables_are_refused(images: Path, content: str, words: str) -> None:
    with pytest.raises(BadData, match=words):
        read(images, content)


def test_unclear_columns_ask_for_a_choice(images: Path, shared: Path) -> None:
    with pytest.raises(BadChoice, match=r"--label-column\. Allowed: wnid, index, name"):
        READER.read(shared / "data/imagenet-sample/labels.csv", ReadOptions())
    with pytest.raises(BadChoice, match=r"split 'trian'.*Did you mean train"):
        read(images, "path,label,split\nimg/a.jpg,cat,train\nimg/b.jpg,cat,trian\n")


def test_the_imagenet_sample(shared: Path) -> None:
    listing = READER.read(shared / "data/imagenet-sample/labels.csv", ReadOptions(label_column="wnid"))
    assert len({record.label for record in listing.records}) == 150
    assert listing.source.read(listing.records[0].locator).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "content",
    [
        "image,cat,dog\nimg/a.jpg,1,0\nimg/b.jpg,0,1\n",
        "image,cat,dog\nimg/a.jpg,1.0,0.0\nimg/b.jpg,0.0,1.0\n",
        "image,cat,dog\nimg/a.jpg,True,False\nimg/b.jpg,False,True\n",  # get_dummies of pandas
        "image,age,cat,dog\nimg/a.jpg,40,1,0\nimg/b.jpg,50,0,1\n",
        "image,cat,dog,is_valid\nimg/a.jpg,1,0,0\nimg/b.jpg,0,1,0\n",
    ],
)
def test_columns_of_which_one_is_set_in_each_row_are_the_classes(images: Path, content: str) -> None:
    listing = read(images, content)
    assert [record.label for record in listing.records] == ["cat", "dog"]
    assert "one-hot" in [notice.code for notice in listing.notices]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,cat,dog\nimg/a.jpg,1,1\nimg/b.jpg,0,1\n", r"line 2: .*\(multi-label\): cat, dog are set"),
        ("image,cat,dog\nimg/a.jpg,1,0\nimg/b.jpg,0,0\n", r"line 3: none of the columns cat, dog is set"),
    ],
)
def test_rows_of_several_classes_or_none_are_refused(images: Path, content: str, words: str) -> None:
    with pytest.raises(BadData, match=f"{words}.*--label-column"):
        read(images, content)


def test_columns_of_classes_are_chosen_by_name(images: Path) -> None:
    listing = read(images, "image,note,cat,dog\nimg/a.jpg,x,1,0\nimg/b.jpg,y,0,1\n", label_column="cat,dog")
    assert [record.label for record in listing.records] == ["cat", "dog"]


def test_other_columns_of_0_and_1_are_no_one_hot_labels(images: Path) -> None:
    with pytest.raises(BadChoice, match="choose one with --label-column"):
        read(images, "image,male,smoker,diagnosis\nimg/a.jpg,1,0,benign\nimg/b.jpg,1,1,malignant\n")


def test_a_named_column_of_0_and_1_is_a_class(images: Path) -> None:
    listing = read(images, "image,cat,dog\nimg/a.jpg,1,0\nimg/b.jpg,0,1\n", label_column="cat")
    assert [record.label for record in listing.records] == ["1", "0"]
