"""Folder and file names that name a split."""

from __future__ import annotations

import pytest

from clearsight.data.readers.support.split_names import split_in, split_of


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
