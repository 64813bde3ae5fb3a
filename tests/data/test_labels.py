"""Values of tables become the same class names whatever format holds them; missing labels are no classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.dataset import ClassMap, Dataset, Listing, Record
from clearsight.core.errors import BadData
from clearsight.core.recipe import DataSection
from clearsight.data.labels import MISSING_WORDS, case_notice, class_name, list_members, read_labels
from clearsight.data.readers import open_listing
from clearsight.data.readers.support.rows import text
from clearsight.data.splits import make_evaluation_splits, make_splits
from tests.data.test_label_check import listing


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *[("0.0", "0"), ("1.", "1"), ("-3.0", "-3"), ("-0.0", "0"), ("1.000000000000000000e+00", "1"), ("2.5", "2.5")],
        *[("007", "007"), ("01.0", "01.0"), ("1e3", "1e3"), ("v1.0", "v1.0"), ("1.0.0", "1.0.0")],
        *[("TRUE", "True"), ("false", "False"), ("yes", "yes")],
        *[(" cat ", "cat"), ("", None), (" ", None), (None, None)],
        *[("['cat']", "cat"), ('["cat"]', "cat"), ("[3]", "3"), ("[unknown]", "[unknown]"), ("(other)", "(other)")],
    ],
)
def test_the_class_of_a_value(value: str | None, name: str | None) -> None:
    assert class_name(value) == name


@given(st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9).map(float)))
def test_a_number_has_one_name_in_csv_json_and_parquet(value: float | bool) -> None:
    from_csv, from_json = class_name(str(value)), class_name(text(json.loads(json.dumps(value))))
    assert from_csv == from_json == class_name(text(value))


@given(st.text())
def test_a_name_stays_as_it_is_once_read(value: str) -> None:
    name = class_name(value)
    assert name is None or class_name(name) == name or list_members(value)


def test_a_list_is_recognised_as_python_json_and_numpy_write_it() -> None:
    for written in ("['cat', 'dog']", '["cat", "dog"]', "['cat' 'dog']", "[cat, dog]", "{cat,dog}", "('cat', 'dog')"):
        assert list_members(written) == ("cat", "dog")
    assert list_members("cat, dog") == ()


@pytest.fixture
def tables(tmp_path: Path, shared: Path) -> Path:
    """Write one dataset of 0.0 and 1.0 as CSV, JSON lines and HDF5, and of True and False as CSV."""
    names = [f"{i:02d}.jpg" for i in range(12)]
    for name in names:
        (tmp_path / name).write_bytes((shared / "data/bad-inputs/good.jpg").read_bytes())
    values = [float(i % 2) for i in range(12)]
    for table, column in {
        "float": values,
        "int": [i % 2 for i in range(12)],
        "bool": [i % 2 > 0 for i in range(12)],
    }.items():
        with (tmp_path / f"{table}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("path", "label"), *zip(names, column, strict=True)])
    lines = [json.dumps({"path": name, "label": value}) for name, value in zip(names, values, strict=True)]
    (tmp_path / "float.jsonl").write_text("\n".join(lines))
    with h5py.File(tmp_path / "arrays.h5", "w") as file:
        file["images"] = np.zeros((12, 16, 16, 3), np.uint8)
        file["labels"] = np.array(values)
    return tmp_path


def test_a_model_of_one_format_knows_the_classes_of_the_others(tables: Path) -> None:
    classes = ClassMap(("0", "1"))
    for name in ("float.csv", "int.csv", "float.jsonl", "arrays.h5", "bool.csv"):
        found = open_listing(tables / name)
        dataset = make_evaluation_splits(found, path=name, recipe=DataSection(), classes=classes)
        assert dataset.counts() == {"test": {"0": 6, "1": 6}}, name


def test_a_model_of_true_and_false_knows_0_and_1(tables: Path) -> None:
    classes = ClassMap(("False", "True"))
    found = open_listing(tables / "float.csv")
    dataset = make_evaluation_splits(found, path="t", recipe=DataSection(), classes=classes)
    assert dataset.counts() == {"test": {"False": 6, "True": 6}}
    assert [notice.code for notice in dataset.notices] == ["boolean-label"]


def train_dataset(found: Listing, **settings: bool) -> Dataset:
    return make_splits(found, path="t.csv", recipe=DataSection(**settings), seed=0)


def test_true_and_1_in_one_column_are_one_class() -> None:
    dataset = train_dataset(listing(["True", "1", "0", "False"] * 5))
    assert tuple(dataset.classes) == ("0", "1")
    assert "boolean-label" in [notice.code for notice in dataset.notices]


@pytest.mark.parametrize("word", sorted(MISSING_WORDS))
def test_words_for_a_missing_value_are_no_classes(word: str) -> None:
    dataset = train_dataset(listing(["cat", "dog", word] * 10))
    assert tuple(dataset.classes) == ("cat", "dog")
    assert dataset.counts()["predict"] == {"": 10}
    [notice] = [notice for notice in dataset.notices if notice.code == "missing-label"]
    assert f"{word!r} (10)" in notice.text
    assert "--no-label-check" in notice.text
    assert len(notice.paths) == 10


def test_they_are_classes_where_the_user_or_the_model_says_so() -> None:
    assert "None" in train_dataset(listing(["None", "crack"] * 10), label_check=False).classes
    found = make_evaluation_splits(
        listing(["None", "crack"] * 5), path="t", recipe=DataSection(), classes=ClassMap(("None", "crack"))
    )
    assert found.counts() == {"test": {"None": 5, "crack": 5}}


def test_a_folder_called_none_is_a_class() -> None:
    for name in ("none", "None", "NA"):
        assert tuple(train_dataset(listing([name, "crack"] * 10, format="folders")).classes) == tuple(
            sorted([name, "crack"])
        )


def test_none_in_lower_case_is_a_class_and_reported() -> None:
    dataset = train_dataset(listing(["none", "crack"] * 10))
    assert tuple(dataset.classes) == ("crack", "none")
    assert "none-label" in [notice.code for notice in dataset.notices]


def test_where_one_class_is_left_the_error_tells_of_the_words() -> None:
    with pytest.raises(BadData, match=r"nothing to learn.*'NA' \(10\).*--no-label-check"):
        train_dataset(listing(["NA", "EU"] * 10))


def test_names_that_differ_in_case_are_reported_and_stay_apart() -> None:
    dataset = train_dataset(listing(["Cat", "cat", "dog"] * 10))
    assert len(dataset.classes) == 3
    assert "classes 'Cat' and 'cat' differ" in next(n.text for n in dataset.notices if n.code == "case-of-classes")
    assert case_notice(["cat", "dog"]) == ()


def test_declared_classes_stay_as_they_are() -> None:
    record = Record(locator="a", label="NA", split=None)
    declared = Listing(records=(record,), source=listing(["x"]).source, format="hdf5-arrays", classes=("NA", "b"))
    assert read_labels(declared, (), words=True).records == (record,)
