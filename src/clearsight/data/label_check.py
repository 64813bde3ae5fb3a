"""Check of labels before training: values that look like a quantity, or like several classes of one image, are refused.

They would become thousands of classes, and training would say nothing. `--no-label-check` takes each value as a class.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from clearsight.core.dataset import Listing
from clearsight.core.errors import BadData, listed
from clearsight.data.labels import NAMED_FORMATS, list_members

_MANY = 20  # distinct numbers; up to it they may be grades or class ids
_FEW_IMAGES = 3  # of a class, on average: with fewer, whole numbers count something rather than name classes
_SEPARATORS = (";", "|", ",", " ", "+", "/", "&")
_STRONG = (";", "|")  # hardly ever in the name of a class
_WEAK = (" ", "+", "/", "&")  # often in one: "black cat"
_SHOWN = 3  # values quoted in a sentence
_ON, _OFF = ("1", "1.0", "True", "true", "TRUE"), ("0", "0.0", "False", "false", "FALSE")
_ANYWAY = "Pass --no-label-check to take each value as a class of its own."


def check_labels(listing: Listing, path: str) -> None:
    """Raise BadData where the labels look like a regression target or like lists of classes."""
    if listing.format in NAMED_FORMATS or listing.classes:
        return
    counts = Counter(record.label for record in listing.records if record.label is not None)
    problem, fix = _lists(counts) or _quantities(counts) or ("", "")
    if problem:
        examples = listed([repr(value) for value in counts], _SHOWN)
        raise BadData(path, f"{problem} ({examples})", fix=f"{fix} {_ANYWAY}")


def _quantities(counts: Mapping[str, int]) -> tuple[str, str] | None:
    """Return problem and fix of labels that are numbers to be predicted, None for others."""
    numbers = [value for value in map(_number, counts) if value is not None]
    if len(numbers) < len(counts) or len(counts) <= _MANY:
        return None
    images = sum(counts.values())
    whole = all(value.is_integer() for value in numbers)
    if whole and images >= _FEW_IMAGES * len(counts):
        return None
    text = (
        f"the labels look like a regression target: {len(counts):,} different numbers on {images:,} images, "
        f"from {min(numbers):g} to {max(numbers):g}"
    )
    return text, "clearsight trains classifiers: name the column with classes by --label-column, or group the numbers."


def _lists(counts: Mapping[str, int]) -> tuple[str, str] | None:
    """Return problem and fix of labels that name several classes of one image, None for others."""
    images = sum(counts.values())
    members = {label: list_members(label) for label in counts}
    several = sum(counts[label] for label, parts in members.items() if len(parts) > 1)
    if counts and not several and all(members.values()):
        return "each label is a list of one class", "Write the class itself, without brackets."
    # "(a, b)" alone among plain names may be one of them.
    if not any(len(parts) > 1 and label[0] != "(" for label, parts in members.items()) and not all(members.values()):
        several = max((_several(counts, separator) for separator in _SEPARATORS), default=0)
    if not several:
        return None
    fix = "clearsight trains one class per image: keep one, or train one model per class with a column of yes and no."
    return f"the labels look like several classes of an image: {several:,} of {images:,} labels are lists", fix


def _several(counts: Mapping[str, int], separator: str) -> int:
    """Count the labels that join others: "cat;dog" where "cat" and "dog" are in other labels too.

    A separator alone proves nothing: "tench, Tinca tinca" is one class.
    """
    joined = {label: parts for label in counts if len(parts := _parts(label, separator)) > 1}
    uses = Counter(part for label in counts for part in _parts(label, separator))
    if separator in _WEAK:
        separate = all(part in counts for parts in joined.values() for part in parts)
        # Tags: few words in many combinations, of one word, of two, of three and more.
        tags = len(counts) >= 2 * len(uses) and len({len(_parts(label, separator)) for label in counts}) > 2
        return sum(counts[label] for label in joined) if separate or tags else 0
    enough = any if separator in _STRONG else all
    compounds = {label for label, parts in joined.items() if enough(uses[part] > 1 for part in parts)}
    return sum(counts[label] for label in compounds) if 2 * len(compounds) >= len(joined) else 0


def _parts(label: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip(" '\"") for part in label.split(separator) if part.strip(" '\"")))


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def one_hot_columns(rows: Sequence[Sequence[str | None]], names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold yes and no alone, if they may be one-hot labels, else ().

    names: columns that may hold the classes.  rows: their cells, as text, of some rows.
    """
    columns = [place for place in range(len(names)) if rows and all(cells[place] in (*_ON, *_OFF) for cells in rows)]
    on = {sum(cells[place] in _ON for place in columns) for cells in rows}
    # Beside other columns they must be exactly one-hot: sex and smoker are two columns of 0 and 1 too.
    if len(columns) < 2 or (len(columns) < len(names) and on != {1}):
        return ()
    return tuple(names[place] for place in columns)


def one_hot_label(names: Sequence[str], cells: Sequence[str | None], row: str) -> str:
    """Return the one column that is set in a row; raises BadData for none or several, or a cell that is not yes or no.

    row: the row, for the error.
    """
    other = next((name for name, cell in zip(names, cells, strict=True) if cell not in (*_ON, *_OFF)), None)
    shown = listed(names, _SHOWN)
    if other is not None:
        raise BadData(row, f"column {other} is not 0 or 1, as columns {shown} of one class each must be")
    found = [name for name, cell in zip(names, cells, strict=True) if cell in _ON]
    if len(found) == 1:
        return found[0]
    if found:
        problem = f"columns {shown} look like several classes per image (multi-label): {', '.join(found)} are set"
    else:
        problem = f"none of the columns {shown} is set, so the image has no class"
    fix = "clearsight trains one class per image: set exactly one, or name one column by --label-column."
    raise BadData(row, problem, fix=fix)
