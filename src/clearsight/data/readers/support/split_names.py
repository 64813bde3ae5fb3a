"""Names of splits in folders, table cells, HDF5 groups and files."""

from __future__ import annotations

import re

from clearsight.core.dataset import Split

_SPELLINGS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trainset"),
    "valid": ("valid", "val", "validation", "dev", "valset"),
    "test": ("test", "testing", "testset"),
    "predict": ("pred", "predict", "prediction", "unlabelled", "unlabeled"),
}
_WORDS = {word: split for split, words in _SPELLINGS.items() for word in words}
# Words that may stand next to the name of a split; with any other word it names something else ("test-tube").
FILLERS = {"seg", "split", "set", "subset", "data", "dataset", "image", "images", "img", "imgs", "pictures"}


def split_of(name: str) -> Split | None:
    """Return the split that `name` is a name of ("seg_train", "Validation", "test-images", "val2017"), else None."""
    words = _words(name)
    found = [_WORDS[word] for word in words if word in _WORDS]
    rest = [word for word in words if word not in _WORDS]
    return found[0] if len(found) == 1 and FILLERS.issuperset(rest) else None


def split_in(name: str) -> Split | None:
    """Return the one split that occurs among the words of a longer name ("isic_train_part2"), else None."""
    found = {_WORDS[word] for word in _words(name) if word in _WORDS}
    # "train_val" names two: no split follows from it.
    return found.pop() if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]  # digits part words: val2017
