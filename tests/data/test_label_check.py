"""Labels that are numbers to predict or lists of classes are refused before training; names of classes are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.dataset import Listing, Record
from clearsight.core.errors import BadData
from clearsight.core.recipe import DataSection
from clearsight.data.label_check import check_labels
from clearsight.data.readers import open_listing
from clearsight.data.splits import make_splits

PUPILS = np.random.default_rng(0)


class NoSource:
    def read(self, locator: str) -> bytes:
        raise AssertionError(locator)

    def stamp(self, locator: str) -> str:
        return locator


def listing(labels: Sequence[object], format: str = "table") -> Listing:
    records = tuple(Record(locator=f"{i}.jpg", label=str(label), split=None) for i, label in enumerate(labels))
    return Listing(records=records, source=NoSource(), format=format)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([f"{value:.3f}" for value in PUPILS.normal(50, 20, 400)], "look like a regression target"),
        ([f"{value:.1f}" for value in PUPILS.uniform(1, 9, 4000)], "look like a regression target"),
        (range(300), "300 different numbers on 300 images, from 0 to 299"),
        ([str(age) for age in PUPILS.integers(18, 90, 100)], "look like a regression target"),
        (["cat;dog", "cat", "dog", "cat;dog"] * 10, "several classes of an image: 20 of 40 labels are lists"),
        (["cat|dog", "cat", "dog", "emu"] * 10, "several classes of an image"),
        (["cat, dog", "cat", "dog", "emu"] * 10, "several classes of an image"),
        (["['cat', 'dog']", "['cat']", "['emu']"] * 10, "several classes of an image: 10 of 30 labels"),
        (["['cat']", "['emu']"] * 10, "each label is a list of one class"),
        (["['cat' 'dog']", "cat", "emu"] * 10, "several classes of an image: 10 of 30 labels"),
        (['["cat", "dog"]', "cat", "emu"] * 10, "several classes of an image"),
        (["cat|haze", "cat", "dog"] * 10, "several classes of an image: 10 of 30 labels"),
        (["cat dog", "cat", "dog", "emu"] * 10, "several classes of an image: 10 of 40 labels"),
        (["scab+rust", "scab", "rust"] * 10, "several classes of an image"),
        (
            [f"{sky} {ground}".strip() for sky in ("clear", "haze") for ground in ("", "road", "water", "road water")]
            * 10,
            "several classes of an image",
        ),
    ],
)
def test_a_label_that_is_no_class_is_refused(labels: Sequence[object], words: str) -> None:
    with pytest.raises(BadData, match=words) as raised:
        check_labels(listing(labels), "train.csv")
    assert "--no-label-check" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "emu"] * 10,
        [0, 1] * 20,
        [f"{grade:.1f}" for grade in (1, 1.5, 2, 2.5, 3)] * 10,  # few grades may be classes
        list(range(200)) * 5,  # 200 class ids of five images each
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"] * 5,  # names with commas
        ["crane", "crane, bird", "drake, duck"] * 5,
        ["a;b", "c;d"] * 10,  # nothing says that a is a class
        ["n01440764", "n01443537"] * 3,
        ["(unknown)", "cat"] * 5,
        ["(cat, small)", "cat", "dog"] * 5,
        ["black cat", "white cat", "black dog", "white dog"] * 5,
        ["golden retriever", "labrador retriever", "poodle"] * 5,
        ["Healthy", "Early blight", "Late blight"] * 5,
        ["AC/DC", "hip-hop/rap", "R&B"] * 5,
    ],
)
def test_classes_are_accepted(labels: Sequence[object]) -> None:
    check_labels(listing(labels), "train.csv")


def test_names_of_folders_are_classes_whatever_they_look_like() -> None:
    check_labels(listing([f"{value:.3f}" for value in PUPILS.normal(0, 1, 400)], format="folders"), "photos")


def test_the_flag_takes_each_value_as_a_class() -> None:
    numbers = listing([f"{value / 7:.3f}" for value in range(30)] * 2)
    with pytest.raises(BadData, match="regression target"):
        make_splits(numbers, path="t.csv", recipe=DataSection(), seed=0)
    assert len(make_splits(numbers, path="t.csv", recipe=DataSection(label_check=False), seed=0).classes) == 30


def test_real_data_pass(shared: Path) -> None:
    for name in ("isic-2024", "cifar-10", "intel-scenes", "dog-breeds"):
        check_labels(open_listing(shared / "data" / name), name)
