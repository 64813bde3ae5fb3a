"""What a tree of folders means."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight.data.readers.support.layout import Layout, Node, hidden, interpret, is_image


def tree(*paths: str) -> Node:
    """A tree of images; a path that ends in "/" is an empty folder."""
    root = Node()
    for path in paths:
        folder, _, name = path.rpartition("/")
        node = root.folder(folder)
        if name:
            node.files.append(name)
    return root


def found(*paths: str) -> tuple[Counter[tuple[str | None, str | None]], list[str]]:
    """How many images per (split, label), and the codes of what was noticed."""
    layout = interpret(tree(*paths), "root")
    return Counter((r.split, r.label) for r in layout.records), [notice.code for notice in layout.notices]


def test_split_folders_with_class_folders() -> None:
    counts, codes = found("train/cat/1", "train/dog/1", "val/cat/1", "val/dog/1", "test/cat/1", "test/dog/1")
    assert counts == {(s, c): 1 for s in ("train", "valid", "test") for c in ("cat", "dog")}
    assert codes == []


def test_doubled_split_folders_as_some_downloads_unpack() -> None:
    counts, codes = found("seg_train/seg_train/sea/1", "seg_test/seg_test/sea/1", "seg_pred/seg_pred/1", "seg_pred/2")
    assert counts == {("train", "sea"): 1, ("test", "sea"): 1, ("predict", None): 2}
    assert codes == []


def test_bare_class_folders_have_no_split() -> None:
    assert found("cat/1", "cat/2", "dog/1") == ({(None, "cat"): 2, (None, "dog"): 1}, [])


def test_flat_folder_is_there_to_be_predicted() -> None:
    assert found("1", "2") == ({("predict", None): 2}, [])


def test_flat_test_folder_is_there_to_be_predicted() -> None:
    assert found("train/cat/1", "train/dog/1", "test/1")[0][("predict", None)] == 1


def test_a_class_may_be_called_train() -> None:
    assert found("car/1", "train/1", "bus/1")[0] == {(None, "bus"): 1, (None, "car"): 1, (None, "train"): 1}


def test_one_folder_too_many_is_stepped_into_and_said() -> None:
    counts, codes = found("data/set/train/cat/1", "data/set/train/dog/1")
    assert counts == {("train", "cat"): 1, ("train", "dog"): 1}
    assert codes == ["nested-folder"]


def test_locators_are_relative_to_the_root() -> None:
    layout = interpret(tree("data/cat/1.jpg", "data/dog/1.jpg"), "root")
    assert [record.locator for record in layout.records] == ["data/cat/1.jpg", "data/dog/1.jpg"]


def test_empty_class_folder_is_said() -> None:
    layout = interpret(tree("train/cat/1", "train/dog/1", "train/fox/"), "root")
    assert [(notice.code, notice.paths) for notice in layout.notices] == [("empty-class", ("train/fox",))]


def test_empty_split_is_said() -> None:
    assert found("train/cat/1", "train/dog/1", "valid/")[1] == ["empty-split"]


def test_strays_and_unknown_folders_beside_splits_are_left_out_and_said() -> None:
    counts, codes = found("train/cat/1", "train/dog/1", "train/cover", "extra/cat/9", "logo")
    assert counts.total() == 2
    assert sorted(codes) == ["folder-ignored", "stray-image", "stray-image"]


def test_images_below_a_class_folder_belong_to_it_and_that_is_said() -> None:
    counts, codes = found("cat/1", "cat/more/2", "dog/1")
    assert counts == {(None, "cat"): 2, (None, "dog"): 1}
    assert codes == ["nested-class"]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("pets/cat/1", "pets/dog/1", "wild/fox/1", "wild/owl/1"), "one level deeper.*root/pets"),
        (("train/1", "train/2", "test/1"), "train/ holds images directly"),
        (("train/cat/1", "train/dog/1", "val/1"), "root/val: it holds images directly"),
        (("cat/", "dog/"), "no image.*cat, dog"),
        ((), "no image"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(paths: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadData, match=words):
        interpret(tree(*paths), "root")


@pytest.mark.parametrize("name", ["._a.jpg", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "desktop.ini"])
def test_what_programs_leave_behind_is_hidden(name: str) -> None:
    assert hidden(name)


def test_extension_says_whether_a_file_is_meant_as_a_image() -> None:
    assert is_image("A.JPEG")
    assert is_image("vector.svg")
    assert is_image("labels.csv") is False
    assert is_image("no_extension") is None


names = st.sampled_from(["train", "test", "val", "pred", "cat", "dog", "deep", "data"])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.lists(names, max_size=4).map(lambda parts: "/".join([*parts, "x.jpg"])), min_size=1, unique=True))
def test_any_tree_is_understood_or_refused(paths: list[str]) -> None:
    try:
        layout = interpret(tree(*paths), "root")
    except BadData:
        return
    assert isinstance(layout, Layout)
    locators = [record.locator for record in layout.records]
    assert len(set(locators)) == len(locators)
    assert set(locators) <= set(paths)
    said = {path for notice in layout.notices for path in notice.paths}
    lost = set(paths) - set(locators)
    assert all(any(path == word or path.startswith(f"{word}/") for word in said) for path in lost)
