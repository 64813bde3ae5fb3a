"""Folders of images with a metadata.csv, .jsonl or .parquet beside them, as the imagefolder of Hugging Face has them.

`file_name` in it is relative to the table. One table may describe the whole folder, or each of train/, valid/ and test/
has its whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData, ClearsightError
from clearsight.data.readers.support.column_names import LABELS
from clearsight.data.readers.support.files import FileSource
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.support.rows import open_table
from clearsight.data.readers.support.split_names import split_of
from clearsight.data.readers.table import TableReader

_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_COLUMN = "file_name"


class MetadataReader:
    """A folder with a metadata table in it, or in each of its split folders."""

    name = "metadata"

    def recognises(self, path: Path) -> bool:
        """Return True if a table names files, and either classes or files beside it: class folders may hold a table."""
        try:
            return any(_describes(table) for table in _tables(path))
        except (OSError, ClearsightError):
            return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return the rows of all tables; the split is that of the row, else of the folder."""
        tables = [*_tables(path)]
        if not tables:
            raise BadData(str(path), f"there is no {' or '.join(_NAMES)} in it, nor in split folders")
        parts = [_part(table, path, options) for table in tables]
        return Listing(
            records=tuple(chain.from_iterable(part.records for part in parts)),
            source=FileSource(path),
            format=self.name,
            notices=tuple(dict.fromkeys(chain.from_iterable(part.notices for part in parts))),
            group_column=next((part.group_column for part in parts if part.group_column), ""),
        )


def _tables(path: Path) -> Iterator[Path]:
    """Yield the table of a folder, else those of its split folders."""
    if not path.is_dir():
        return
    whole = [path / name for name in _NAMES if (path / name).is_file()]
    folders = [] if whole else sorted(entry for entry in path.iterdir() if entry.is_dir() and split_of(entry.name))
    yield from whole[:1]
    for folder in folders:
        yield from [folder / name for name in _NAMES if (folder / name).is_file()][:1]


def _describes(table: Path) -> bool:
    rows = open_table(table)
    images = any(is_image(entry.name) for entry in table.parent.iterdir())
    return _COLUMN in rows.names and (images or bool(rows.usual(LABELS)))


def _part(table: Path, path: Path, options: ReadOptions) -> Listing:
    """Return the rows of one table, their paths relative to the dataset."""
    named = _COLUMN in open_table(table).names and options.id_column is None
    listing = TableReader().read(table, replace(options, id_column=_COLUMN) if named else options)
    root = listing.source.root if isinstance(listing.source, FileSource) else table.parent
    split = split_of(table.parent.name) if table.parent != path else None
    records = []
    for record in listing.records:
        place = root / record.locator
        locator = place.relative_to(path) if place.is_relative_to(path) else place
        records.append(replace(record, locator=locator.as_posix(), split=record.split or split))
    return replace(listing, records=tuple(records))


READER = MetadataReader()
