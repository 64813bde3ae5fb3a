"""A tree of folders is read as splits and classes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight.data.readers.support.layout import Layout, Node, hidden, interpret, is_image
from clearsight.data.readers.support.split_names import split_of


def tree(*paths: str) -> Node:
    """Return a tree of images; a path that ends in "/" is an empty folder."""
    root = Node()
    for path in paths:
        folder, _, name = path.rpartition("/")
        node = root.folder(folder)
        if name:
            node.files.append(name)
    return root


def counts_and_codes(*paths: str) -> tuple[Counter[tuple[str | None, str | None]], list[str]]:
    """Return the number of images per (split, label) and the codes of the notices."""
    layout = interpret(tree(*paths), "root")
    return Counter((r.split, r.label) for r in layout.records), [notice.code for notice in layout.notices]


def test_split_folders_with_class_folders() -> None:
    counts, codes = counts_and_codes("train/cat/1", "train/dog/1", "val/cat/1", "val/dog/1", "test/cat/1", "test/dog/1")
    assert counts == {(s, c): 1 for s in ("train", "valid", "test") for c in ("cat", "dog")}
    assert codes == []


def test_doubled_split_folders_as_some_downloads_unpack() -> None:
    counts, codes = counts_and_codes(
        "seg_train/seg_train/sea/1", "seg_test/seg_test/sea/1", "seg_pred/seg_pred/1", "seg_pred/2"
    )
    assert counts == {("train", "sea"): 1, ("test", "sea"): 1, ("predict", None): 2}
    assert codes == []


def test_bare_class_folders_have_no_split() -> None:
    assert counts_and_codes("cat/1", "cat/2", "dog/1") == ({(None, "cat"): 2, (None, "dog"): 1}, [])


def test_images_of_a_flat_folder_are_in_the_predict_split() -> None:
    assert counts_and_codes("1", "2") == ({("predict", None): 2}, [])


def test_images_of_a_flat_test_folder_are_in_the_predict_split() -> None:
    assert counts_and_codes("train/cat/1", "train/dog/1", "test/1")[0][("predict", None)] == 1


def test_a_class_may_be_called_train() -> None:
    assert counts_and_codes("car/1", "train/1", "bus/1")[0] == {(None, "bus"): 1, (None, "car"): 1, (None, "train"): 1}


def test_a_class_called_train_may_hold_folders_as_the_classes_beside_it_do() -> None:
    counts, codes = counts_and_codes(
        *("car/audi/1", "car/bmw/2", "bus/city/3", "bus/school/4", "train/diesel/5", "train/steam/6")
    )
    assert counts == {(None, "bus"): 2, (None, "car"): 2, (None, "train"): 2}
    assert codes == ["split-is-class", "nested-class"]


def test_a_class_called_train_may_be_the_only_one_with_folders() -> None:
    assert counts_and_codes("car/1", "car/2", "bus/3", "train/diesel/5", "train/steam/6")[0].keys() == {
        *((None, "bus"), (None, "car"), (None, "train"))
    }


@pytest.mark.parametrize(
    "paths",
    [
        ("train/cat/1", "train/dog/1", "docs/fig", "assets/logo"),  # as many images as in train/, but ...
        ("train/cat/1", "train/dog/1", "raw/cat/1", "more/dog/1"),
        ("train/cat/1", "train/dog/1", "extra/fox/1"),
    ],
)
def test_a_folder_called_train_beside_others_is_a_split(paths: tuple[str, ...]) -> None:
    more = [f"train/cat/{number}" for number in range(2, 9)]
    counts, codes = counts_and_codes(*paths, *more)
    assert {split for split, _ in counts} == {"train"}
    assert codes == ["folder-ignored"]


def test_the_level_of_the_class_folders_can_be_chosen() -> None:
    paths = ("pets/cat/1", "pets/dog/1", "wild/fox/1", "wild/owl/1", "wild/cat/2")
    upper = interpret(tree(*paths), "root", class_level=1)
    assert {record.label for record in upper.records} == {"pets", "wild"}
    lower = interpret(tree(*paths), "root", class_level=2)
    assert {record.locator: record.label for record in lower.records} == {path: path.split("/")[1] for path in paths}
    with pytest.raises(BadData, match=r"--class-level 2 .*no folder there holds class folders"):
        interpret(tree("cat/1", "dog/1"), "root", class_level=2)


def test_the_level_counts_from_below_the_split() -> None:
    layout = interpret(tree("train/pets/cat/1", "train/wild/fox/1", "val/pets/cat/2"), "root", class_level=2)
    assert [(record.split, record.label) for record in layout.records] == [
        *(("train", "cat"), ("train", "fox"), ("valid", "cat"))
    ]


@pytest.mark.parametrize("names", [("train", "val"), ("Training", "Testing"), ("train", "val", "test")])
def test_class_folders_may_hold_the_splits(names: tuple[str, ...]) -> None:
    counts, codes = counts_and_codes(*(f"{label}/{name}/{label}" for label in "ab" for name in names))
    splits = [split_of(name) for name in names]
    assert counts == {(split, label): 1 for split in splits for label in "ab"}
    assert codes == ["split-in-class"]


def test_an_image_beside_the_splits_of_a_class_has_no_split() -> None:
    counts, _ = counts_and_codes("a/train/1", "a/val/2", "a/3", "b/train/4")
    assert counts == {("train", "a"): 1, ("valid", "a"): 1, (None, "a"): 1, ("train", "b"): 1}


def test_a_wrapper_folder_may_lie_beside_images() -> None:
    counts, codes = counts_and_codes("logo", "data/train/cat/1", "data/train/dog/1", "data/validation/cat/1")
    assert counts == {("train", "cat"): 1, ("train", "dog"): 1, ("valid", "cat"): 1}
    assert codes == ["stray-image", "nested-folder"]


def test_unsorted_images_beside_a_table_lead_to_the_table() -> None:
    with pytest.raises(BadData, match=r"To take the classes from a table, pass it: root/train\.csv\."):
        interpret(tree("train/1", "test/1"), "root", tables=["root/train.csv"])


def test_one_folder_too_many_is_entered_and_reported() -> None:
    counts, codes = counts_and_codes("data/set/train/cat/1", "data/set/train/dog/1")
    assert counts == {("train", "cat"): 1, ("train", "dog"): 1}
    assert codes == ["nested-folder"]


def test_locators_are_relative_to_the_root() -> None:
    layout = interpret(tree("data/cat/1.jpg", "data/dog/1.jpg"), "root")
    assert [record.locator for record in layout.records] == ["data/cat/1.jpg", "data/dog/1.jpg"]


def test_an_empty_class_folder_is_reported() -> None:
    layout = interpret(tree("train/cat/1", "train/dog/1", "train/fox/"), "root")
    assert [(notice.code, notice.paths) for notice in layout.notices] == [("empty-class", ("train/fox",))]


def test_an_empty_split_is_reported() -> None:
    assert counts_and_codes("train/cat/1", "train/dog/1", "valid/")[1] == ["empty-split"]


def test_stray_images_and_unknown_folders_next_to_splits_are_left_out_and_reported() -> None:
    counts, codes = counts_and_codes("train/cat/1", "train/dog/1", "train/cover", "extra/cat/9", "logo")
    assert counts.total() == 2
    assert sorted(codes) == ["folder-ignored", "stray-image", "stray-image"]


def test_images_below_a_class_folder_belong_to_it_and_are_reported() -> None:
    counts, codes = counts_and_codes("cat/1", "cat/more/2", "dog/1")
    assert counts == {(None, "cat"): 2, (None, "dog"): 1}
    assert codes == ["nested-class"]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (
            ("pets/cat/1", "pets/dog/1", "wild/fox/1", "wild/owl/1"),
            "one level deeper.*--class-level 1 to train on pets, wild, or --class-level 2 to train on cat, dog",
        ),
        (("train/1", "train/2", "test/1"), "train/ holds images directly"),
        (("train/cat/1", "train/dog/1", "val/1"), "root/val: it holds images directly"),
        (("cat/", "dog/"), "no image.*cat, dog"),
        ((), "no image"),
    ],
)
def test_an_ambiguous_tree_is_refused_with_a_reason(paths: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadData, match=words):
        interpret(tree(*paths), "root")


@pytest.mark.parametrize(
    "name", ["._a.jpg", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"]
)
def test_files_of_the_operating_system_are_hidden(name: str) -> None:
    assert hidden(name)


def test_the_extension_decides_whether_a_file_is_an_image() -> None:
    assert is_image("A.JPEG")
    assert is_image("vector.svg")
    assert is_image("labels.csv") is False
    assert is_image("no_extension") is None


names = st.sampled_from(["train", "test", "val", "pred", "cat", "dog", "deep", "data"])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.lists(names, max_size=4).map(lambda parts: "/".join([*parts, "x.jpg"])), min_size=1, unique=True))
def test_any_tree_is_read_or_refused(paths: list[str]) -> None:
    try:
        layout = interpret(tree(*paths), "root")
    except BadData:
        return
    assert isinstance(layout, Layout)
    locators = [record.locator for record in layout.records]
    assert len(set(locators)) == len(locators)
    assert set(locators) <= set(paths)
    reported = {path for notice in layout.notices for path in notice.paths}
    lost = set(paths) - set(locators)
    assert all(any(path == word or path.startswith(f"{word}/") for word in reported) for path in lost)
