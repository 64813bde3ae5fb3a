"""CSV, JSON lines or Parquet with a path, a label and, optionally, a split per row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from clearsight.core.dataset import SPLITS, Listing, Notice, ReadOptions, Record
from clearsight.core.errors import BadChoice, BadData
from clearsight.data.label_check import one_hot_error
from clearsight.data.readers.support.files import FileSource
from clearsight.data.readers.support.rows import LABELS, PATHS, SPLIT_COLUMNS, SUFFIXES, TableRows, open_table
from clearsight.data.readers.support.split_names import split_of

_HEAD = 1000  # rows that are looked at for columns of 0 and 1


@dataclass
class PathRows:
    """Rows of (path, label, split) being turned into records: one record per image, images that are on the disk."""

    table: Path
    records: list[Record] = field(default_factory=list)
    _seen: dict[str, tuple[int, Record]] = field(default_factory=dict)
    _repeated: list[str] = field(default_factory=list)

    def add(self, line: int, record: Record) -> None:
        """Take a row; raises BadData when an earlier row contradicts it."""
        first = self._seen.setdefault(record.locator, (line, record))  # the line tells whether it is new
        if first[0] == line:
            self.records.append(record)
        elif first[1] == record:
            self._repeated.append(record.locator)
        else:
            problem = f"{record.locator} is {_describe(record)} here and {_describe(first[1])} in line {first[0]}"
            raise BadData(f"{self.table} line {line}", problem, fix="Keep one of the two rows.")

    def listing(self, format: str, *notices: Notice) -> Listing:
        """Return the records; raises BadData when there are none, or none of the images exists."""
        if not self.records:
            raise BadData(str(self.table), "it has no rows")
        root = self.table.parent
        # One is enough: the scan names the missing.
        if not any((root / record.locator).is_file() for record in self.records):
            first = root / self.records[0].locator
            problem = f"none of its {len(self.records)} images exists (first: {first})"
            fix = "Paths are relative to the table's folder: move the table, or correct the paths."
            raise BadData(str(self.table), problem, fix=fix)
        if self._repeated:
            text = f"{len(self._repeated)} rows occur twice and count once"
            notices = (*notices, Notice(code="repeated-row", text=text, paths=tuple(self._repeated)))
        return Listing(records=tuple(self.records), source=FileSource(root), format=format, notices=notices)


def _describe(record: Record) -> str:
    return f"{record.label!r}" + (f" of {record.split}" if record.split else "")


def relative(path: str, root: Path) -> str:
    """Return a path as a table writes it, as POSIX and relative to `root` where it lies below."""
    plain = Path(path if "/" in path else path.replace("\\", "/"))  # a table written on Windows
    return (plain.relative_to(root) if plain.is_absolute() and plain.is_relative_to(root) else plain).as_posix()


class TableReader:
    """A table of images; the paths in it are relative to its folder."""

    name = "table"

    def recognises(self, path: Path) -> bool:
        return path.is_file() and path.suffix.lower() in SUFFIXES

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every row; columns are found by their usual names unless `options` names them."""
        if not path.is_file():
            raise BadData(str(path), "it is not a table file")
        rows = open_table(path)
        paths = rows.column(options.id_column, "id column") or next(iter(rows.usual(PATHS)), None)
        if paths is None:
            problem = f"no column holds the paths, it has {', '.join(rows.names[:12])}"
            raise BadData(str(path), problem, fix="Name the one with the paths 'path'.")
        splits = _split_column(rows, options, used=paths)
        label, notices = label_column(rows, options, used=(paths, splits)) if options.labels else (None, ())
        records = PathRows(path)
        for line, (locator, name, cell) in rows.pick(paths, label, splits):
            if locator is None:
                raise BadData(f"{path} line {line}", f"column {paths!r} is empty", fix="Give every row a path.")
            split = None if cell is None else split_of(cell)
            if split is None and cell is not None:  # a row that says "fold3" must not slip into training
                problem = f"split {cell!r} is not known"
                raise BadChoice(f"{path} line {line}", problem, got=cell, allowed=SPLITS)
            records.add(line, Record(locator=relative(locator, path.parent), label=name, split=split))
        return records.listing(self.name, *notices)


def label_column(
    rows: TableRows, options: ReadOptions, used: tuple[str | None, ...]
) -> tuple[str | None, tuple[Notice, ...]]:
    """Return the column with the classes, None when all columns are `used`; raises BadChoice when it is unclear."""
    if options.label_column is not None:
        return rows.column(options.label_column, "--label-column"), ()
    usual = [name for name in rows.usual(LABELS) if name not in used]
    if len(usual) > 1:
        text = f"classes are read from column {usual[0]!r}; --label-column {usual[1]} would take the other"
        return usual[0], (Notice(code="label-column", text=text),)
    left = usual or [name for name in rows.names if name not in used]
    if len(left) > 1:
        head = [cells for _, cells in itertools.islice(rows.pick(*left), _HEAD)]
        if (error := one_hot_error(str(rows.path), left, head)) is not None:
            raise error
        problem = "no column has a usual name for classes; choose one with --label-column"
        raise BadChoice(str(rows.path), problem, allowed=left)
    return (left[0] if left else None), ()


def _split_column(rows: TableRows, options: ReadOptions, used: str) -> str | None:
    """Return the column with the splits: one with a usual name counts only when one of its cells names a split."""
    if options.split_column is not None:
        return rows.column(options.split_column, "split column")
    for column in rows.usual(SPLIT_COLUMNS):
        cells = (cell for _, (cell,) in rows.pick(column) if cell is not None)
        if column != used and any(split_of(cell) for cell in cells):  # "set" may mean many things
            return column
    return None


READER = TableReader()
