"""Images of one patient go into one split, and it is reported where they do not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.dataset import Dataset, Listing, Record, Split
from clearsight.core.errors import BadData
from clearsight.core.recipe import DataSection
from clearsight.data.splits import make_splits
from tests.data.test_label_check import NoSource


def listing(*images: tuple[str, str | None, Split | None]) -> Listing:
    """Return images of (label, patient, split)."""
    records = tuple(
        Record(locator=f"{i:04d}", label=label, split=split, group=group)
        for i, (label, group, split) in enumerate(images)
    )
    return Listing(records=records, source=NoSource(), format="table", group_column="patient_id")


def patients(count: int, images: int = 3) -> Listing:
    """Return patients of one class each, the classes by turns."""
    return listing(*(("ab"[i % 2], f"P{i}", None) for i in range(count) for _ in range(images)))


def train_dataset(found: Listing, group_column: str | None = "patient_id", seed: int = 0, **settings: Any) -> Dataset:
    return make_splits(found, path="t.csv", recipe=DataSection(group_column=group_column, **settings), seed=seed)


def splits_of_groups(found: Listing, dataset: Dataset) -> dict[str | None, set[str]]:
    groups = {record.locator: record.group for record in found.records}
    splits: dict[str | None, set[str]] = defaultdict(set)
    for sample in dataset.samples:
        splits[groups[sample.id]].add(sample.split)
    return splits


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([f"P{i}" for i in range(9)])), min_size=8), st.integers()
)
def test_no_group_is_in_two_splits(images: list[tuple[str, str]], seed: int) -> None:
    extra = [(label, f"Q{i}", None) for i in range(4) for label in "ab"]
    found = listing(*((label, group, None) for label, group in images), *extra)
    dataset = train_dataset(found, seed=seed)
    assert all(len(splits) == 1 for splits in splits_of_groups(found, dataset).values())
    assert {*dataset.counts()} == {"train", "valid", "test"}
    assert "group-leak" not in [notice.code for notice in dataset.notices]


def test_classes_are_divided_by_their_shares_as_far_as_groups_allow() -> None:
    counts = train_dataset(patients(40), valid_fraction=0.2, test_fraction=0.2).counts()
    assert counts == {"train": {"a": 36, "b": 36}, "valid": {"a": 12, "b": 12}, "test": {"a": 12, "b": 12}}


def test_the_seed_decides_between_equal_groups() -> None:
    found = patients(20)
    assert train_dataset(found).samples == train_dataset(found).samples
    assert train_dataset(found).samples != train_dataset(found, seed=1).samples


def test_validation_images_are_taken_from_a_named_training_split_by_group() -> None:
    images = [("ab"[i % 2], f"P{i // 4}", "train" if i < 64 else "test") for i in range(80)]
    found = listing(*images)  # type: ignore[arg-type]
    dataset = train_dataset(found)
    assert all(len(splits) == 1 for splits in splits_of_groups(found, dataset).values())
    assert sum(dataset.counts()["test"].values()) == 16


def test_an_image_without_a_group_is_one_of_its_own() -> None:
    dataset = train_dataset(listing(*(("ab"[i % 2], None, None) for i in range(40))))
    assert len(dataset.counts()) == 3


def test_fewer_groups_than_splits_are_refused() -> None:
    with pytest.raises(BadData, match=r"--group-column patient_id: 2 groups cannot be divided into train, valid, test"):
        train_dataset(patients(2))
    assert len(train_dataset(patients(2), test_fraction=0).counts()) == 2


def test_groups_in_several_splits_are_reported_with_the_flag() -> None:
    dataset = train_dataset(patients(20), group_column=None)
    [notice] = [notice for notice in dataset.notices if notice.code == "group-leak"]
    assert "values of column 'patient_id' are in several splits (train, valid, test)" in notice.text
    assert "--group-column patient_id" in notice.text
    assert notice.paths


def test_groups_in_several_named_splits_are_reported_even_with_the_flag() -> None:
    images = [("ab"[i % 2], f"P{i // 4}", "train" if i % 4 else "valid") for i in range(80)]
    dataset = train_dataset(listing(*images))  # type: ignore[arg-type]
    [notice] = [notice for notice in dataset.notices if notice.code == "group-leak"]
    assert "20 of 20 values" in notice.text


def test_groups_of_one_image_are_no_leak() -> None:
    dataset = train_dataset(patients(40, images=1), group_column=None)
    assert "group-leak" not in [notice.code for notice in dataset.notices]


def test_data_without_groups_are_refused() -> None:
    found = Listing(records=patients(4).records, source=NoSource(), format="folders")
    with pytest.raises(BadData, match="--group-column patient_id: data of the format folders have no such column"):
        train_dataset(found)
