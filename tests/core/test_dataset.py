"""A dataset is a value: its order, classes and fingerprint do not depend on where or how it was read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.dataset import ClassMap, Dataset, Record, freeze
from clearsight.core.errors import BadChoice, BadData


class Nowhere:
    def read(self, locator: str) -> bytes:
        return locator.encode()

    def stamp(self, locator: str) -> str:
        return locator


RECORDS = [
    Record(locator="test/cat/1.jpg", label="cat", split="test"),
    Record(locator="train/dog/1.jpg", label="dog", split="train"),
    Record(locator="train/cat/2.jpg", label="cat", split="train"),
    Record(locator="x.jpg", label=None, split="predict"),
]


def dataset(records: list[Record] = RECORDS) -> Dataset:
    classes = ClassMap.of(record.label for record in records if record.label)
    return Dataset(samples=freeze(records, classes), classes=classes, source=Nowhere())


def test_classes_are_sorted_by_name_and_numbers_as_numbers() -> None:
    assert ClassMap.of(["b", "a", "b"]).names == ("a", "b")
    assert ClassMap.of(["10", "2", "1"]).names == ("1", "2", "10")


def test_an_unknown_class_gets_the_nearest() -> None:
    with pytest.raises(BadChoice, match=r"Did you mean Beagle\?"):
        ClassMap(("Basset", "Beagle")).index("Beagel")


def test_a_class_twice_is_refused() -> None:
    with pytest.raises(BadData, match="occurs twice"):
        ClassMap(("a", "a"))


@given(st.permutations(RECORDS))
def test_order_and_fingerprint_do_not_depend_on_the_order_of_the_disk(records: list[Record]) -> None:
    assert dataset(records).samples == dataset().samples
    assert dataset(records).fingerprint == dataset().fingerprint


def test_fingerprint_changes_with_label_split_and_content() -> None:
    seen = {dataset().fingerprint}
    for change in ({"label": "dog"}, {"split": "valid"}, {"locator": "test/cat/9.jpg"}):
        first = {"locator": RECORDS[0].locator, "label": RECORDS[0].label, "split": RECORDS[0].split, **change}
        seen.add(dataset([Record(**first), *RECORDS[1:]]).fingerprint)  # type: ignore[arg-type]
    assert len(seen) == 4


def test_counts_by_split_and_class_with_the_unlabelled_apart() -> None:
    assert dataset().counts() == {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1}, "predict": {"": 1}}


def test_labels_of_an_unlabelled_split_are_refused() -> None:
    assert dataset().split("train").labels().tolist() == [0, 1]
    with pytest.raises(BadData, match=r"x\.jpg: it has no label"):
        dataset().labels()
