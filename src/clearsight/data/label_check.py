"""Check of labels before training: values that look like a quantity, or like several classes of one image, are refused.

They would become thousands of classes, and training would say nothing. `--no-label-check` takes each value as a class.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from clearsight.core.dataset import Listing
from clearsight.core.errors import BadData, listed

_FORMATS = ("folders", "archive", "cifar")  # their classes are names of folders, or declared: nothing to doubt
_MANY = 20  # distinct numbers; up to it they may be grades or class ids
_FEW_IMAGES = 3  # of a class, on average: with fewer, whole numbers count something rather than name classes
_SEPARATORS = (";", "|", ",")
_SHOWN = 3  # values quoted in a sentence
_ANYWAY = "Pass --no-label-check to take each value as a class of its own."


def check_labels(listing: Listing, path: str) -> None:
    """Raise BadData where the labels look like a regression target or like lists of classes."""
    if listing.format in _FORMATS or listing.classes:
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
    brackets = [label for label in counts if label[:1] + label[-1:] in ("[]", "{}", "()")]
    if brackets and len(brackets) == len(counts):
        several = sum(counts[label] for label in brackets if len(_parts(label[1:-1], ",")) > 1)
    else:
        several = max((_several(counts, separator) for separator in _SEPARATORS), default=0)
        if not several:
            return None
    if not several:
        return "each label is a list of one class", "Write the class itself, without brackets."
    fix = "clearsight trains one class per image: keep one, or train one model per class with a column of yes and no."
    return f"the labels look like several classes of an image: {several:,} of {images:,} labels are lists", fix


def _several(counts: Mapping[str, int], separator: str) -> int:
    """Count the labels that join others: "cat;dog" where "cat" and "dog" are in other labels too.

    A separator alone proves nothing: "tench, Tinca tinca" is one class.
    """
    joined = {label: parts for label in counts if len(parts := _parts(label, separator)) > 1}
    uses = Counter(part for label in counts for part in _parts(label, separator))
    made = {label for label, parts in joined.items() if all(uses[part] > 1 for part in parts)}
    return sum(counts[label] for label in made) if 2 * len(made) >= len(joined) else 0


def _parts(label: str, separator: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip(" '\"") for part in label.split(separator) if part.strip(" '\"")))


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def one_hot_error(what: str, names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> BadData | None:
    """Return the error for a table whose classes are columns of 0 and 1, None for other tables.

    names: columns that may hold the classes.  rows: their cells, as text, of some rows.
    """
    columns = [
        place for place in range(len(names)) if rows and all(cells[place] in ("0", "1", "0.0", "1.0") for cells in rows)
    ]
    ones = {sum(cells[place] in ("1", "1.0") for place in columns) for cells in rows}
    # Beside other columns they must be exactly one-hot: sex and smoker are two columns of 0 and 1 too.
    if len(columns) < 2 or (len(columns) < len(names) and ones != {1}):
        return None
    shown = listed([names[place] for place in columns], _SHOWN)
    if max(ones) > 1:
        problem = f"columns {shown} look like several classes per image (multi-label): they hold 0 and 1 alone"
        return BadData(what, problem, fix="clearsight trains one class per image: name one column by --label-column.")
    fix = "Write one column with the class; in pandas: table['label'] = table[columns].idxmax(axis=1)."
    return BadData(what, f"columns {shown} look like one-hot labels: they hold 0 and 1 alone", fix=fix)
