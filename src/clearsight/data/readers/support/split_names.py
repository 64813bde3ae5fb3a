"""Names of splits in folders, table cells, HDF5 groups and files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from clearsight.core.dataset import Split

_SPELLINGS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trainset", "trn", "trainval"),
    # The leaderboards of Kaggle: the public one is used while a model is chosen, the private one at the end.
    "valid": (
        "valid",
        "val",
        "validation",
        "validate",
        "dev",
        "valset",
        "validset",
        "eval",
        "evaluation",
        "publictest",
    ),
    "test": ("test", "testing", "testset", "tst", "holdout", "privatetest"),
    "predict": ("pred", "predict", "prediction", "unlabelled", "unlabeled"),
}
_WORDS = {word: split for split, words in _SPELLINGS.items() for word in words}
# Words that may stand next to the name of a split; with any other word it names something else ("test-tube").
FILLERS = frozenset(
    ["seg", "split", "set", "subset", "data", "dataset", "image", "images", "img", "imgs", "pictures", "photos", "jpg"]
)
_YES, _NO = ("true", "1", "1.0", "yes", "y", "t"), ("false", "0", "0.0", "no", "n", "f")
_NUMBERS: tuple[Split, ...] = ("train", "valid", "test")  # in this order in CelebA, Waterbirds and WILDS


def split_of(name: str) -> Split | None:
    """Return the split that `name` is a name of ("seg_train", "Validation", "test-images", "val2017"), else None."""
    words = split_words(name)
    found = [_WORDS[word] for word in words if word in _WORDS]
    rest = [word for word in words if word not in _WORDS]
    return found[0] if len(found) == 1 and FILLERS.issuperset(rest) else None


def split_in(name: str) -> Split | None:
    """Return the one split that occurs among the words of a longer name ("isic_train_part2"), else None."""
    found = {_WORDS[word] for word in split_words(name) if word in _WORDS}
    # "train_val" names two: no split follows from it.
    return found.pop() if len(found) == 1 else None


def split_words(name: str) -> list[str]:
    """Return the words of a name in lower case; digits part words: val2017."""
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]


def split_flag(column: str) -> tuple[Split, Split] | None:
    """Return the splits of yes and no in a column such as is_valid or is_train, None for another column."""
    found = split_in(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column))  # isValid
    if found in ("valid", "test"):
        return found, "train"
    # What is not trained on is kept for the end, as in CUB-200: a part of train becomes the validation split.
    return ("train", "test") if found == "train" else None


def splits_of_cells(column: str, counts: Mapping[str, int], *, chosen: bool = False) -> dict[str, Split]:
    """Return the split of each cell of a column of splits, as far as it is clear; {} when none is.

    counts: rows per cell.  Cells are names of splits, or yes and no in a column such as is_valid, or 0 and 1 (and 2)
    where 0 is the most frequent: train, valid (and test).
    chosen: the user named the column. Otherwise its name must tell that numbers are splits, and a column such as
    `valid` that is mostly yes is taken for a remark about the image.
    """
    if named := {cell: split for cell in counts if (split := split_of(cell)) is not None}:
        return named
    plain = {cell: cell.lower() for cell in counts}
    flag = split_flag(column)
    if flag is not None and {*plain.values()} <= {*_YES, *_NO}:
        found = {cell: flag[0] if word in _YES else flag[1] for cell, word in plain.items()}
        held_out = sum(counts[cell] for cell, split in found.items() if split != "train")
        return found if chosen or flag[0] == "train" or 2 * held_out <= sum(counts.values()) else {}
    words = {*split_words(column)}
    numbers = {cell: int(float(word)) for cell, word in plain.items() if re.fullmatch(r"[012](\.0)?", word)}
    rows = [sum(counts[cell] for cell in numbers if numbers[cell] == number) for number in (0, 1, 2)]
    clear = len(numbers) == len(counts) and rows[1] > 0 and rows[0] > max(rows[1:]) and not words & {"fold", "folds"}
    if not clear or not (chosen or words & {"split", "set", "subset", "partition"}):
        return {}
    return {cell: _NUMBERS[number] for cell, number in numbers.items()}
