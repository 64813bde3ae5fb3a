"""A listing becomes a dataset: class map, splits, sample, and notices about problems."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import ClassMap, Dataset, Listing, Notice, Record, Split
from clearsight.core.errors import BadChoice, BadData, BadValue
from clearsight.core.recipe import DataSection
from clearsight.data.readers import open_listing
from clearsight.data.splits import (
    default_valid_fraction,
    evaluation_split,
    has_splits,
    make_evaluation_splits,
    make_splits,
)


class EmptySource:
    def read(self, locator: str) -> bytes:
        return b""

    def stamp(self, locator: str) -> str:
        return locator


def records(label: str | None, count: int, split: Split | None = None) -> list[Record]:
    return [Record(locator=f"{split}/{label}/{i:03d}", label=label, split=split) for i in range(count)]


def listing(*groups: Sequence[Record], **more: Any) -> Listing:
    return Listing(records=tuple(r for group in groups for r in group), source=EmptySource(), format="test", **more)


def train_dataset(found: Listing, *, seed: int = 0, classes: ClassMap | None = None, **recipe: Any) -> Dataset:
    return make_splits(found, path="pets", recipe=DataSection(**recipe), seed=seed, classes=classes)


def evaluation_dataset(found: Listing, classes: ClassMap | None = None) -> Dataset:
    return make_evaluation_splits(found, path="pets", recipe=DataSection(), classes=classes)


def codes(dataset: Dataset) -> list[str]:
    return [notice.code for notice in dataset.notices]


# --- splits


def test_data_without_splits_is_divided_by_class() -> None:
    dataset = train_dataset(listing(records("cat", 100), records("dog", 40)))
    assert dataset.counts() == {
        "train": {"cat": 70, "dog": 28},
        "valid": {"cat": 15, "dog": 6},
        "test": {"cat": 15, "dog": 6},
    }
    assert codes(dataset) == []


def test_the_division_follows_the_seed_and_not_the_order() -> None:
    found = listing(records("cat", 30), records("dog", 30))
    mixed = list(found.records)
    random.Random(1).shuffle(mixed)
    assert train_dataset(found).samples == train_dataset(listing(mixed)).samples
    assert train_dataset(found).samples != train_dataset(found, seed=1).samples


def test_images_by_absolute_path_keep_their_splits_when_the_data_is_moved() -> None:
    def valid(root: str) -> set[str]:
        found = [
            replace(record, locator=f"{root}/{record.locator}") for record in (*records("cat", 60), *records("dog", 60))
        ]
        return {sample.id.removeprefix(root) for sample in train_dataset(listing(found)).split("valid").samples}

    assert valid("/home/ada/pets") == valid("/mnt/pets")
    assert valid("/mnt/pets") != {f"/{name}" for name in valid("pets")}  # a relative path counts whole


def test_a_new_class_moves_no_image_of_the_others() -> None:
    before = train_dataset(listing(records("cat", 30), records("dog", 30)))
    after = train_dataset(listing(records("cat", 30), records("dog", 30), records("emu", 30)))
    assert {(s.id, s.split) for s in before.samples} <= {(s.id, s.split) for s in after.samples}


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    valid=st.floats(0.01, 0.6),
    test=st.one_of(st.just(0.0), st.floats(0.01, 0.39)),
)
def test_from_three_images_on_a_class_is_in_every_split(sizes: list[int], valid: float, test: float) -> None:
    found = listing(*(records(f"class {i}", size) for i, size in enumerate(sizes)))
    counts = train_dataset(found, valid_fraction=valid, test_fraction=test).counts()
    for i, size in enumerate(sizes):
        by_split = {split: counts.get(split, {}).get(f"class {i}", 0) for split in ("train", "valid", "test")}
        assert sum(by_split.values()) == size
        assert by_split["train"] >= 1
        if size >= 3:
            assert by_split["valid"] >= 1
            assert (by_split["test"] >= 1) == (test > 0)


def test_train_without_valid_gives_a_part_of_itself() -> None:
    dataset = train_dataset(
        listing(records("cat", 20, "train"), records("dog", 20, "train"), records("cat", 5, "test"))
    )
    assert dataset.counts()["valid"] == {"cat": 3, "dog": 3}
    assert dataset.counts()["test"] == {"cat": 5}
    assert codes(dataset) == ["valid-from-train", "class-missing-in-split"]


def test_valid_without_test_stays_without_test() -> None:
    pets = [records(name, 5, split) for name in ("cat", "dog") for split in ("train", "valid")]
    assert set(train_dataset(listing(*pets)).counts()) == {"train", "valid"}


def test_images_without_a_split_beside_others_are_for_training() -> None:
    pets = [records(name, 10, split) for name in ("cat", "dog") for split in ("train", "valid", None)]
    dataset = train_dataset(listing(*pets))
    assert dataset.counts()["train"] == {"cat": 20, "dog": 20}
    assert "split-missing" in codes(dataset)


def test_unlabelled_images_are_in_the_predict_split() -> None:
    dataset = train_dataset(
        listing(records("cat", 5), records("dog", 5), records(None, 3, "train"), records(None, 2, "predict"))
    )
    assert dataset.counts()["predict"] == {"": 5}
    assert [notice.paths for notice in dataset.notices if notice.code == "unlabelled"] == [
        tuple(f"train/None/{i:03d}" for i in range(3))
    ]


def test_data_without_any_label_can_be_opened() -> None:
    assert train_dataset(listing(records(None, 4))).counts() == {"predict": {"": 4}}


def test_fractions_must_leave_training_images() -> None:
    with pytest.raises(BadValue, match="leaves nothing"):
        train_dataset(listing(records("cat", 5), records("dog", 5)), valid_fraction=0.5, test_fraction=0.5)


# --- classes


def test_the_map_is_by_name_whatever_the_format_lists_first() -> None:
    assert train_dataset(listing(records("dog", 5), records("cat", 5))).classes.names == ("cat", "dog")
    assert train_dataset(listing(records("10", 5), records("9", 5))).classes.names == ("9", "10")


def test_a_declared_class_order_is_preserved() -> None:
    assert train_dataset(listing(records("dog", 5), records("cat", 5), classes=("dog", "cat"))).classes.names == (
        "dog",
        "cat",
    )


def test_accents_compose_to_one_class() -> None:
    dataset = train_dataset(listing(records("cafe\u0301", 5), records("caf\u00e9", 5, "train"), records("tea", 5)))
    assert dataset.classes.names == ("caf\u00e9", "tea")


def test_a_class_that_training_does_not_have_is_refused_with_the_way_out() -> None:
    pets = [records(name, 5, split) for name in ("beagle", "poodle") for split in ("train", "test")]
    strange = listing(*pets, records("beagel", 2, "test"))
    with pytest.raises(
        BadData, match=r"pets/test: class 'beagel' is not among the 2 .*Did you mean beagle.*--ignore-class"
    ):
        train_dataset(strange)
    assert train_dataset(strange, ignore_class=("beagel",)).classes.names == ("beagle", "poodle")


def test_ignored_classes_must_be_there_and_must_leave_something() -> None:
    pets = listing(records("cat", 5), records("dog", 5))
    with pytest.raises(BadChoice, match=r"--ignore-class cats: .*Did you mean cat"):
        train_dataset(pets, ignore_class=("cats",))
    with pytest.raises(BadData, match="every labelled image"):
        train_dataset(pets, ignore_class=("cat", "dog"))


def test_the_class_map_of_a_model_is_used_and_other_classes_are_refused() -> None:
    model = ClassMap(("dog", "cat", "emu"))
    dataset = train_dataset(listing(records("cat", 5, "test")), classes=model)
    assert dataset.classes is model
    assert {sample.label for sample in dataset.samples} == {1}
    with pytest.raises(BadData, match="'fox' is not among the 3 classes of the model"):
        train_dataset(listing(records("fox", 5, "test")), classes=model)


# --- problems of the data


def test_training_on_one_class_is_refused() -> None:
    with pytest.raises(BadData, match="all 5 training images are of class 'cat'"):
        train_dataset(listing(records("cat", 5)))
    with pytest.raises(BadData, match="one labelled image"):
        train_dataset(listing(records("cat", 1)))
    with pytest.raises(BadData, match="no image"):
        train_dataset(listing())


def test_the_error_about_one_class_points_to_a_table_in_the_folder() -> None:
    table_notice = Notice(code="table-beside", text="to take the classes from the table, pass labels.csv")
    with pytest.raises(BadData, match=r"pass labels\.csv"):
        train_dataset(listing(records("images", 5), notices=(table_notice,)))


def test_more_classes_than_images_gives_a_notice() -> None:
    each_its_own = train_dataset(listing(*(records(f"c{i}", 1) for i in range(6))))
    assert "are these folders really classes" in next(
        notice.text for notice in each_its_own.notices if notice.code == "more-classes-than-images"
    )
    assert "more-classes-than-images" in codes(train_dataset(listing(*(records(f"c{i}", 2) for i in range(6)))))
    assert "more-classes-than-images" not in codes(train_dataset(listing(*(records(f"c{i}", 5) for i in range(6)))))


@pytest.mark.parametrize(("small", "expected"), [(20, True), (21, False)])
def test_imbalance_is_reported_from_a_ratio_of_ten(small: int, expected: bool) -> None:
    pets = listing(records("cat", 200, "train"), records("dog", small, "train"), records("cat", 1, "valid"))
    assert ("imbalance" in codes(train_dataset(pets))) == expected


def test_tiny_classes_are_named() -> None:
    dataset = train_dataset(listing(records("cat", 20), records("dog", 4)))
    assert [notice.paths for notice in dataset.notices if notice.code == "tiny-class"] == [("dog",)]


def test_a_class_missing_in_a_split_is_named() -> None:
    pets = [records(name, 5, split) for name in ("cat", "dog") for split in ("train", "valid")]
    dataset = train_dataset(listing(*pets, records("emu", 5, "train")))
    missing = [notice for notice in dataset.notices if notice.code == "class-missing-in-split"]
    assert [(notice.paths, "valid" in notice.text) for notice in missing] == [(("emu",), True)]


def test_notices_of_the_reader_are_preserved() -> None:
    note = Notice(code="nested-folder", text="deeper")
    assert note in train_dataset(listing(records("cat", 5), records("dog", 5), notices=(note,))).notices


# --- sample (--limit)


def test_a_sample_keeps_shares_and_every_class() -> None:
    pets = listing(records("cat", 9000, "train"), records("dog", 900, "train"), records("emu", 2, "train"))
    dataset = train_dataset(pets, limit=100)
    counts = Counter(dataset.classes[s.label] for s in dataset.samples if s.label is not None)
    assert 98 <= len(dataset) <= 102
    assert counts["emu"] >= 1
    assert 80 <= counts["cat"] <= 92
    assert "limited" in codes(dataset)
    assert dataset.samples == train_dataset(pets, limit=100).samples


def test_a_limit_over_the_size_changes_nothing() -> None:
    pets = listing(records("cat", 5), records("dog", 5))
    assert train_dataset(pets, limit=10).samples == train_dataset(pets).samples


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=2, max_size=8), limit=st.integers(2, 100))
def test_a_sample_is_near_its_limit(sizes: list[int], limit: int) -> None:
    found = listing(*(records(f"class {i}", size, "test") for i, size in enumerate(sizes)))
    dataset = make_evaluation_splits(found, path="pets", recipe=DataSection(limit=limit), classes=None)
    assert len(dataset.counts()["test"]) == len(sizes)
    assert min(limit, sum(sizes)) <= len(dataset) <= max(limit + len(sizes), len(sizes))


# --- evaluation


def test_a_bare_folder_is_evaluated_whole() -> None:
    found = listing(records("cat", 5), records("dog", 5))
    dataset = evaluation_dataset(found, ClassMap(("cat", "dog")))
    assert not has_splits(found)
    assert len(evaluation_split(dataset, None, splits_in_data=False)) == 10
    with pytest.raises(BadChoice, match="--split valid"):
        evaluation_split(dataset, "valid", splits_in_data=False)


def test_the_test_split_is_evaluated_unless_another_is_named() -> None:
    found = listing(*(records("cat", n, split) for n, split in ((5, "train"), (3, "valid"), (2, "test"))))
    dataset = evaluation_dataset(found)
    assert has_splits(found)
    assert len(evaluation_split(dataset, None, splits_in_data=True)) == 2
    assert len(evaluation_split(dataset, "val", splits_in_data=True)) == 3
    with pytest.raises(BadChoice, match="Allowed: train, valid, test"):
        evaluation_split(dataset, "exam", splits_in_data=True)


def test_without_a_test_split_one_must_be_chosen_unless_there_is_one() -> None:
    dataset = evaluation_dataset(listing(records("cat", 5, "train"), records("cat", 3, "valid")))
    with pytest.raises(BadChoice, match=r"--split\. Allowed: train, valid"):
        evaluation_split(dataset, None, splits_in_data=True)
    assert len(evaluation_split(dataset.split("valid"), None, splits_in_data=True)) == 3


def test_unlabelled_data_cannot_be_evaluated() -> None:
    with pytest.raises(BadData, match="no image has a label"):
        evaluation_split(evaluation_dataset(listing(records(None, 5))), None, splits_in_data=False)


def test_real_datasets_have_their_splits(shared: Path) -> None:
    dogs = train_dataset(open_listing(shared / "data" / "dog-breeds"))
    assert {split: sum(table.values()) for split, table in dogs.counts().items()} == {
        "train": 526,
        "valid": 144,
        "test": 144,
    }
    assert len(dogs.classes) == 24
    scenes = train_dataset(open_listing(shared / "data" / "intel-scenes"))
    assert {split: set(table.values()) for split, table in scenes.counts().items()} == {
        "train": {102},
        "valid": {18},
        "test": {40},
        "predict": {60},
    }


@pytest.mark.parametrize(
    ("images", "held_out"),
    [(20, 5), (60, 15), (100, 20), (133, 20), (200, 30), (720, 108), (1000, 150), (4000, 300), (10_000, 470)],
)
def test_the_share_held_out_to_validate_follows_the_number_of_images(images: int, held_out: int) -> None:
    # A score of few images is noise; images beyond a few hundred are worth more in training.
    assert round(default_valid_fraction(images) * images) == pytest.approx(held_out, abs=5 if images > 1000 else 0.5)


def test_more_images_never_leave_fewer_to_validate() -> None:
    counts = [default_valid_fraction(images) * images for images in range(4, 20_000, 7)]
    assert all(later >= earlier * 0.99 for earlier, later in pairwise(counts))


def test_a_given_share_is_kept() -> None:
    found = listing(records("cat", 2000, "train"), records("dog", 2000, "train"))
    assert len(train_dataset(found, valid_fraction=0.25).split("valid")) == 1000


@pytest.mark.parametrize("setting", ["label_column", "split_column", "group_column"])
def test_a_column_of_data_without_columns_is_refused(setting: str) -> None:
    found = listing(records("cat", 9), records("dog", 9))
    flag = f"--{setting.replace('_', '-')} breed"
    with pytest.raises(BadData, match=f"{flag}: data of the format archive have no such column"):
        train_dataset(replace(found, format="archive"), **{setting: "breed"})


def test_a_class_too_small_for_every_split_is_named_with_its_count() -> None:
    dataset = train_dataset(listing(records("a", 1), records("b", 140)))
    assert dataset.absent("train") == ()
    assert dataset.absent("valid") == ("a",)
    texts = [notice.text for notice in dataset.notices if notice.code == "class-missing-in-split"]
    assert texts[0] == 'split valid has no image of 1 of 2 classes: a; class "a" has 1 image, too few for every split'
