"""Folder and file names that name a split."""

from __future__ import annotations

import pytest

from clearsight.data.readers.support.split_names import split_flag, split_in, split_of, splits_of_cells


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("seg_train", "train"),
        ("train_split", "train"),
        ("val", "valid"),
        ("val2017", "valid"),
        ("Validation", "valid"),
        ("test-images", "test"),
        ("seg_pred", "predict"),
        ("PublicTest", "valid"),  # of FER2013
        ("PrivateTest", "test"),
        ("TRAIN", "train"),  # of Vertex AI
        ("eval", "valid"),
        ("holdout", "test"),
        ("", None),
        ("cats", None),
        ("trainer", None),
        ("train station", None),
        ("train_test", None),
    ],
)
def test_a_split_name_names_a_split_and_nothing_else(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_a_longer_name_may_hold_one_split() -> None:
    assert split_in("isic_train_part2") == "train"
    assert split_in("train_and_test") is None


@pytest.mark.parametrize(
    ("column", "flag"),
    [
        ("is_valid", ("valid", "train")),
        ("isVal", ("valid", "train")),
        ("is_test", ("test", "train")),
        ("is_train", ("train", "test")),
        ("is_training_image", ("train", "test")),  # of CUB-200
        ("split", None),
        ("validity", None),
    ],
)
def test_a_column_may_ask_whether_an_image_is_of_a_split(column: str, flag: tuple[str, str] | None) -> None:
    assert split_flag(column) == flag


@pytest.mark.parametrize(
    ("column", "counts", "splits"),
    [
        ("split", {"Training": 8, "val": 2}, {"Training": "train", "val": "valid"}),
        ("split", {"train": 8, "fold3": 2}, {"train": "train"}),  # the reader refuses the other
        ("is_valid", {"True": 2, "False": 8}, {"True": "valid", "False": "train"}),
        ("is_valid", {"1.0": 2, "0.0": 8}, {"1.0": "valid", "0.0": "train"}),
        ("is_val", {"yes": 2, "no": 8}, {"yes": "valid", "no": "train"}),
        ("is_train", {"1": 8, "0": 2}, {"1": "train", "0": "test"}),
        ("is_test", {"False": 8}, {"False": "train"}),
        ("partition", {"0": 8, "1": 1, "2": 1}, {"0": "train", "1": "valid", "2": "test"}),  # of CelebA
        ("split", {"0": 8, "1": 2}, {"0": "train", "1": "valid"}),
        ("split", {"0": 2, "1": 8}, {}),  # 1 may be train
        ("split", {"0": 5, "1": 5}, {}),
        ("split", {"0": 8, "1": 1, "3": 1}, {}),
        ("split", {"True": 2, "False": 8}, {}),
        ("fold", {"0": 4, "1": 3, "2": 3}, {}),
        ("stage", {"0": 8, "1": 2}, {}),  # of a disease
        ("valid", {"True": 8, "False": 2}, {}),  # most images are valid ones
        ("set", {"7": 1}, {}),
    ],
)
def test_cells_name_splits_where_they_are_clear(column: str, counts: dict[str, int], splits: dict[str, str]) -> None:
    assert splits_of_cells(column, counts) == splits


def test_a_chosen_column_may_have_any_name() -> None:
    assert splits_of_cells("part", {"0": 8, "1": 2}, chosen=True) == {"0": "train", "1": "valid"}
    assert splits_of_cells("part", {"0": 2, "1": 8}, chosen=True) == {}
    assert splits_of_cells("valid", {"True": 8, "False": 2}, chosen=True) == {"True": "valid", "False": "train"}
