"""Class names from the values of tables and HDF5 files: equal values give equal names, whatever format holds them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from clearsight.core.dataset import Listing, Notice
from clearsight.core.errors import listed

NAMED_FORMATS = ("folders", "archive", "cifar")  # their classes are names of folders, or declared: nothing to read

# Words that programs write where a value is missing: those that pandas reads as NaN, and the "?" of UCI and Weka.
# "none" in lower case is left out, as in pandas: people write it for the class without a finding.
MISSING_WORDS = frozenset(
    [
        *("NaN", "nan", "-NaN", "-nan", "NA", "N/A", "n/a", "#N/A", "#NA", "#N/A N/A", "<NA>"),
        *("NULL", "null", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "?"),
    ]
)
# A number with a point and without leading zeros: "007" is a text, and so is "1e3" (a code as likely as a number).
_DECIMAL = re.compile(r"[+-]?(0|[1-9]\d*)\.\d*(e[+-]?\d{1,2})?", re.IGNORECASE)
_EXACT = 2**53  # whole floats up to it are exact
_LIST = re.compile(r"\[(.*)\]|\{(.*)\}|\((.*)\)", re.DOTALL)
_MEMBER = re.compile(r"'([^']*)'|\"([^\"]*)\"|([^\s,'\"]+)")
_BOOLEANS = {"False": "0", "True": "1"}
_SHOWN = 5


def class_name(value: str | None) -> str | None:
    """Return the class that a value names: 0.0 is "0", TRUE is "True", ['cat'] is "cat"; None for an empty one."""
    if value is None:
        return None
    name = value.strip()
    if name.casefold() in ("true", "false"):
        return name.capitalize()
    if _DECIMAL.fullmatch(name) and (number := float(name)).is_integer() and abs(number) < _EXACT:
        return str(int(number))
    members = list_members(name)
    return (
        class_name(members[0]) if len(members) == 1 and (name[1] in "'\"" or members[0].isdecimal()) else name or None
    )


def list_members(label: str) -> tuple[str, ...]:
    """Return the distinct members of a label that is written as a list, () for other labels.

    "['cat', 'dog']" of Python, '["cat", "dog"]' of JSON, "['cat' 'dog']" of NumPy, "[cat, dog]", "{cat}".
    """
    brackets = _LIST.fullmatch(label)
    inside = next((text for text in brackets.groups() if text is not None), "") if brackets else ""
    if "'" in inside or '"' in inside:
        found = [first or second or third for first, second, third in _MEMBER.findall(inside)]
    else:
        found = inside.split(",")
    return tuple(dict.fromkeys(text.strip() for text in found if text.strip()))


def read_labels(listing: Listing, classes: Iterable[str], *, words: bool) -> Listing:
    """Return the listing with its labels as classes, and notices about what was read as something else.

    Labels of folders and declared ones stay as they are.
    classes: those of the model that is to see the data, () for none. What it has as a class stays one.
    words: words such as NaN and NULL stand for a missing label.
    """
    if listing.format in NAMED_FORMATS:
        return listing
    known = {*listing.classes, *classes}
    counts = Counter(record.label for record in listing.records if record.label is not None)
    missing = {name: count for name, count in counts.items() if words and name in MISSING_WORDS - known}
    numbers = _boolean_numbers({name for name in counts if name not in missing}, known)
    renamed: dict[str, str | None] = {**dict.fromkeys(missing), **numbers}
    notices = [*_missing_notices(listing, counts, missing)]
    if numbers:
        pairs = listed([f"{name} is read as {number}" for name, number in sorted(numbers.items())], _SHOWN)
        notices.append(Notice(code="boolean-label", text=f"labels: {pairs}, as both spellings are in use"))
    records = tuple(
        replace(record, label=renamed[record.label]) if record.label in renamed else record
        for record in listing.records
    )
    return replace(listing, records=records, notices=(*listing.notices, *notices))


def _missing_notices(listing: Listing, counts: Mapping[str, int], missing: Mapping[str, int]) -> Iterator[Notice]:
    if missing:
        spellings = listed([f"{name!r} ({count:,})" for name, count in sorted(missing.items())], _SHOWN)
        text = f"labels {spellings} are read as missing; --no-label-check takes each word as a class of that name"
        paths = tuple(record.locator for record in listing.records if record.label in missing)
        yield Notice(code="missing-label", text=text, paths=paths)
    if "none" in counts:
        text = f"'none' is a class of {counts['none']} images; where it means a missing label, empty the cells"
        yield Notice(code="none-label", text=text)


def _boolean_numbers(labels: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Return new names of labels where True and 1 are the same class: in one data set, or in the data and the model."""
    booleans = {*_BOOLEANS}
    numbers = {*_BOOLEANS.values()}
    if not known:
        mixed = {*labels} <= booleans | numbers and booleans & {*labels} and numbers & {*labels}
        return {name: number for name, number in _BOOLEANS.items() if name in labels} if mixed else {}
    if {*known} == numbers and {*labels} <= booleans | numbers:
        return {name: number for name, number in _BOOLEANS.items() if name in labels}
    if {*known} == booleans and {*labels} <= booleans | numbers:
        return {number: name for name, number in _BOOLEANS.items() if number in labels}
    return {}


def case_notice(classes: Iterable[str]) -> tuple[Notice, ...]:
    """Return the notice about classes whose names differ in case alone."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        spellings[name.casefold()].append(name)
    groups = [names for names in spellings.values() if len(names) > 1]
    if not groups:
        return ()
    shown = listed([" and ".join(repr(name) for name in sorted(names)) for names in groups], _SHOWN)
    text = f"classes {shown} differ in upper and lower case alone; if they are one class, write it in one way"
    return (Notice(code="case-of-classes", text=text, paths=tuple(name for names in groups for name in names)),)
