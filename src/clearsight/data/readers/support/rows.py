"""Tables as rows of text: CSV, JSON lines and Parquet, read column by column and never as a whole."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Notice
from clearsight.core.errors import BadChoice, BadData, missing_extra
from clearsight.data.readers.support.column_names import usual
from clearsight.data.readers.support.delimited import not_utf8, open_delimited

Cells = tuple[str | None, ...]

_HEAD = 1000

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")


@dataclass(frozen=True)
class TableRows:
    """A table file: its column names, and a way to read some of the columns."""

    path: Path
    names: tuple[str, ...]
    reading: Callable[[Sequence[str]], Iterator[tuple[int, Cells]]] = field(repr=False)
    notices: tuple[Notice, ...] = ()

    def pick(self, *columns: str | None) -> Iterator[tuple[int, Cells]]:
        """Yield line number (that of the file; 1 for the first row of Parquet) and the cells of `columns`.

        Cells are stripped; empty, null and NaN ones are None, and so is all of a column that is None.
        """
        real = [name for name in columns if name is not None]
        for line, cells in self.reading(real):
            present = iter(cells)
            yield line, tuple(None if name is None else next(present) for name in columns)

    def column(self, name: str | None, flag: str) -> str | None:
        """Return `name` when the table has that column; raises BadChoice when not."""
        if name is not None and name not in self.names:
            raise BadChoice(f"{flag} {name}", f"{self.path.name} has no such column", got=name, allowed=self.names)
        return name

    def usual(self, spellings: Iterable[str]) -> list[str]:
        """Return the columns whose name is one of `spellings` (ignoring case, blanks, - and _), in that order."""
        return usual(self.names, spellings)

    def head(self, *columns: str) -> list[Cells]:
        """Return the cells of `columns` in the first 1,000 rows."""
        return [cells for _, cells in itertools.islice(self.pick(*columns), _HEAD)]

    def counts(self, column: str) -> Counter[str]:
        """Return the rows per cell of a column, empty cells left out."""
        return Counter(cell for _, (cell,) in self.pick(column) if cell is not None)


def open_table(path: Path, path_column: int | None = None) -> TableRows:
    """Return the table in a file; BadData when it is empty or damaged, MissingExtra for Parquet without pyarrow.

    path_column: place of the paths in a text table whose first line is a row; None reads the first line.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            return _parquet(path)
        return _jsonl(path) if suffix in (".jsonl", ".ndjson", ".manifest", ".json") else _csv(path, path_column)
    except OSError as error:
        raise BadData(str(path), f"it cannot be read ({error.strerror or error})") from None


def text(value: Any) -> str | None:
    """Return the text of a cell: 3.0 is "3", NaN and null are None."""
    if value is None or value != value:  # NaN differs from itself, whatever its type
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _csv(path: Path, path_column: int | None) -> TableRows:
    table = open_delimited(path, path_column)

    def reading(columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        places = [table.names.index(column) for column in columns]
        for line, row in table.rows():
            yield line, tuple(row[place].strip() or None for place in places)

    return TableRows(path, table.names, reading, table.notices)


def _jsonl(path: Path) -> TableRows:
    def reading(columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        for line, row in json_objects(path):
            yield line, tuple(text(row.get(column)) for column in columns)

    # Rows may lack keys; a hundred show all.
    names = dict.fromkeys(key for _, row in itertools.islice(json_objects(path), 100) for key in row)
    if not names:
        raise BadData(str(path), "it is empty", fix="Each line must be one JSON object.")
    return TableRows(path, tuple(names), reading)


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of each line of a JSON-lines file, values as they are."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for line, words in enumerate(stream, 1):
                if not words.strip():
                    continue
                if "\0" in words:
                    raise not_utf8(path)
                row = json.loads(words)
                if not isinstance(row, dict):
                    raise BadData(str(path), f"line {line} is not a JSON object")
                yield line, row
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except (json.JSONDecodeError, RecursionError) as error:  # RecursionError: deeply nested brackets
        raise BadData(str(path), f"line {line} is not JSON ({error})") from None
    except OSError as error:
        raise BadData(str(path), f"it cannot be read ({error.strerror or error})") from None


def _parquet(path: Path) -> TableRows:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", "parquet", str(path)) from None
    try:
        with parquet.ParquetFile(path) as table:
            names = tuple(table.schema_arrow.names)
    except arrow.ArrowException as error:
        problem = f"it is damaged, cut short, or no Parquet file ({str(error).splitlines()[0]})"
        raise BadData(str(path), problem, fix="Copy or download it again.") from None

    def reading(columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        line = 0
        try:
            with parquet.ParquetFile(path) as table:
                # A batch at a time, the named columns alone.
                for batch in table.iter_batches(columns=list(dict.fromkeys(columns))):
                    picked = [batch.column(column).to_pylist() for column in columns]
                    for cells in zip(*picked, strict=True):
                        line += 1
                        yield line, tuple(text(cell) for cell in cells)
        except arrow.ArrowException as error:
            raise BadData(str(path), f"it is damaged ({str(error).splitlines()[0]})") from None

    return TableRows(path, names, reading)
