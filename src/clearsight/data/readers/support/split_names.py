"""The names that people give to splits: folders, table cells, HDF5 groups and files."""

from __future__ import annotations

import re

from clearsight.core.dataset import Split

_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "valset": "valid",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "pred": "predict",
    "predict": "predict",
    "prediction": "predict",
    "unlabelled": "predict",
    "unlabeled": "predict",
}
_BESIDE = {"seg", "split", "set", "subset", "data", "dataset", "image", "images", "img", "imgs", "pictures"}


def split_of(name: str) -> Split | None:
    """The split that `name` names and nothing else ("seg_train", "Validation", "test-images", "val2017"), else None."""
    words = _words(name)
    found = [_WORDS[word] for word in words if word in _WORDS]
    rest = [word for word in words if word not in _WORDS]
    return found[0] if len(found) == 1 and _BESIDE.issuperset(rest) else None


def split_in(name: str) -> Split | None:
    """The one split that occurs among the words of a longer name ("isic_train_part2"), else None."""
    found = {_WORDS[word] for word in _words(name) if word in _WORDS}
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]
