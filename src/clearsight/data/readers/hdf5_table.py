"""HDF5 files of encoded images by key, each with a CSV of labels beside it, as in ISIC 2024.

`train-image.hdf5` + `train-metadata.csv`, `val_split-image.hdf5` + `val_split.csv`; the split is in the name. Images
of a file without a table go to the predict split. Listing reads keys and two columns, never images.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from clearsight.core.dataset import Listing, Notice, ReadOptions, Record, Split
from clearsight.core.errors import BadChoice, BadData, BadImage
from clearsight.data.labels import class_name
from clearsight.data.readers.support.column_names import LABELS
from clearsight.data.readers.support.columns import (
    LabelColumns,
    SplitColumn,
    group_column,
    label_columns,
    split_column,
)
from clearsight.data.readers.support.hdf5_file import Hdf5File, encoded_image, hdf5_files, holds_encoded
from clearsight.data.readers.support.rows import TableRows, open_table
from clearsight.data.readers.support.split_names import split_in

# Ends of the table's name, as of ISIC and others.
_TABLES = ("", "-metadata", "_metadata", "-labels", "_labels", "-groundtruth", "_groundtruth")
_FIRST = 20  # entries that are looked at for an image
_HEAD = 200  # rows searched for the column with the keys


class Hdf5TableSource:
    """Encoded images by key, over several files. Reads of a file are serial (HDF5 allows no more)."""

    def __init__(self, places: Mapping[str, tuple[Hdf5File, str]]) -> None:
        self._places = places

    def read(self, locator: str) -> bytes:
        """Return the encoded image; raises BadImage when the file is damaged there."""
        if locator not in self._places:
            raise BadImage(locator, "no file has such a key")
        file, key = self._places[locator]
        with file.reading(locator) as handle:
            return encoded_image(handle[key])

    def stamp(self, locator: str) -> str:
        """Return size and time of the file, and the key."""
        if locator not in self._places:
            return "missing"
        file, key = self._places[locator]
        return f"{file.stamp}-{key}"


class Hdf5TableReader:
    """A folder of such files, or one of them."""

    name = "hdf5-table"

    def recognises(self, path: Path) -> bool:
        for file in hdf5_files(path):
            with suppress(OSError, BadData):  # another file may be whole; `read` says what is wrong with this one
                if _holds_images(file):
                    return True
        return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every key that has a row, and every key of the files without a table."""
        files = [file for file in hdf5_files(path) if _holds_images(file)]
        if not files:
            raise BadData(str(path), "there is no HDF5 file with encoded images by key")
        spare = sorted(files[0].parent.glob("*.csv")) if len(files) == 1 else []
        parts = [_part(file, options, spare) for file in files]
        if options.labels and options.label_column is not None and not any(part.labelled for part in parts):
            names = dict.fromkeys(name for part in parts if part.rows for name in part.rows.names)
            flag = f"--label-column {options.label_column}"
            raise BadChoice(flag, "no table has such a column", got=options.label_column, allowed=names)
        records: list[Record] = []
        places: dict[str, tuple[Hdf5File, str]] = {}
        for part in parts:
            for key, record in part.entries.items():
                locator = key if key not in places else f"{part.file.path.name}/{key}"  # the same key in two files
                places[locator] = (part.file, key)
                records.append(replace(record, locator=locator))
        return Listing(
            records=tuple(records),
            source=Hdf5TableSource(places),
            format=self.name,
            notices=tuple(itertools.chain.from_iterable(part.notices for part in parts)),
            group_column=next((part.groups for part in parts if part.groups), ""),
        )


@dataclass(frozen=True)
class _Part:
    """One HDF5 file with its labels."""

    file: Hdf5File
    rows: TableRows | None
    labelled: bool
    entries: dict[str, Record]  # by key
    notices: tuple[Notice, ...] = ()
    groups: str = ""  # name of the column


def _holds_images(path: Path) -> bool:
    """Return True for a file of encoded images; raises BadData for a damaged one."""
    with Hdf5File(path).listing() as handle, handle:  # many files may be asked: no handle stays open
        # A few entries: listing all keys of a large file is slow, and the first may be a damaged image.
        return any(holds_encoded(handle[key]) for key in itertools.islice(handle, _FIRST))


def _part(path: Path, options: ReadOptions, spare: list[Path]) -> _Part:
    file = Hdf5File(path)
    with file.listing() as handle:
        keys = list(handle)
    base = re.sub(r"[-_]?images?$", "", path.stem, flags=re.IGNORECASE) or path.stem
    split = split_in(base)
    rows = _table(path, base, spare) if options.labels else None
    if rows is None:
        text = f"{path.name}: no table of labels beside it (looked for {base}.csv, {base}-metadata.csv, …)"
        notices = () if split in ("test", "predict") else (Notice(code="no-labels", text=text, paths=(path.name,)),)
        return _Part(file, None, False, _unlabelled(keys), notices)
    id_column = _id_column(rows, set(keys), options)
    # The name of the file decides: its table is then of one split.
    splits = SplitColumn() if split else split_column(rows, options, (id_column, options.label_column))
    groups = group_column(rows, options, (id_column, splits.name, options.label_column))
    labels = _label_columns(rows, (id_column, splits.name, groups), options, split)
    if labels is None:
        return _Part(file, rows, False, _unlabelled(keys))
    described = {
        key: replace(record, split=split or record.split)
        for key, record in _records(rows, id_column, labels, splits, groups).items()
    }
    entries = {key: described[key] for key in keys if key in described}
    remarks = (*rows.notices, *splits.notices, *labels.notices, *_mismatch(path, rows, described, keys))
    return _Part(file, rows, True, entries, remarks, groups or "")


def _unlabelled(keys: Iterable[str]) -> dict[str, Record]:
    return {key: Record(locator=key, label=None, split="predict") for key in keys}


def _table(path: Path, base: str, spare: list[Path]) -> TableRows | None:
    """Return the table of an HDF5 file by its name, else the only one of the `spare` ones."""
    named = [path.with_name(f"{stem}{ending}.csv") for stem in (base, path.stem) for ending in _TABLES]
    found = [table for table in named if table.is_file()]
    if not found and len(spare) == 1:
        found = spare
    return open_table(found[0]) if found else None


def _id_column(rows: TableRows, keys: set[str], options: ReadOptions) -> str:
    """Return the column whose cells are keys of the HDF5 file."""
    if (column := rows.column(options.id_column, "--id-column")) is not None:
        return column
    head = [cells for _, cells in itertools.islice(rows.pick(*rows.names), _HEAD)]
    hits = {name: sum(cells[place] in keys for cells in head) for place, name in enumerate(rows.names)}
    best = max(rows.names, key=lambda name: hits[name])
    if not hits[best]:
        problem = f"no column holds keys of the images, such as {min(keys)!r}"
        raise BadData(str(rows.path), problem, fix="The table and the HDF5 file seem to be of different data.")
    return best


def _label_columns(
    rows: TableRows, used: Sequence[str | None], options: ReadOptions, split: Split | None
) -> LabelColumns | None:
    """Return the columns with the classes; None for a table that describes images without labels."""
    if options.label_column is not None and options.label_column not in rows.names:
        return None
    try:
        labels = label_columns(rows, options, used)
    except (BadChoice, BadData):
        if split in ("test", "predict"):
            return None
        raise
    # A test table with a sex beside the patient has no classes.
    described = split in ("test", "predict") and len(rows.names) > 2 and labels.names[:1] != (options.label_column,)
    return labels if labels.names and not (described and not rows.usual(LABELS)) else None


def _records(
    rows: TableRows, id_column: str, labels: LabelColumns, splits: SplitColumn, groups: str | None
) -> dict[str, Record]:
    """Return the rows by key; raises BadData for a row without a key and for rows that contradict each other."""
    records: dict[str, Record] = {}
    for line, (key, split, group, *cells) in rows.pick(id_column, splits.name, groups, *labels.names):
        row = f"{rows.path} line {line}"
        if key is None:
            raise BadData(row, f"column {id_column!r} is empty")
        label = class_name(labels.label(cells, row))
        record = Record(locator=key, label=label, split=splits.split(split, row), group=group)
        if records.setdefault(key, record).label != label:
            raise BadData(row, f"{key} is {label!r} here and {records[key].label!r} above")
    return records


def _mismatch(path: Path, rows: TableRows, labels: Mapping[str, Record], keys: list[str]) -> Iterator[Notice]:
    known = set(keys)
    if missing := tuple(key for key in labels if key not in known):
        text = f"{rows.path.name}: {len(missing)} rows have no image in {path.name}"
        yield Notice(code="row-without-image", text=text, paths=missing)
    if unnamed := tuple(key for key in keys if key not in labels):
        text = f"{path.name}: {len(unnamed)} images have no row in {rows.path.name} and are left out"
        yield Notice(code="image-without-row", text=text, paths=unnamed)


READER = Hdf5TableReader()
