"""Tables as rows of text: CSV, JSON lines and Parquet, read column by column and never as a whole."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadChoice, BadData, missing_extra

Cells = tuple[str | None, ...]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")

# Usual names of columns, the most telling first: of several that are there, the first is taken.
PATHS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "imagepath"),
    *("image_file", "image_filename", "image_name", "img", "img_path", "picture", "relative_path", "location"),
)
LABELS = (
    *("label", "labels", "class", "class_name", "classname", "class_label"),
    *("target", "category", "category_name", "y"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "phase")


@dataclass(frozen=True)
class TableRows:
    """A table file: its column names, and a way to read some of the columns."""

    path: Path
    names: tuple[str, ...]
    reading: Callable[[Sequence[str]], Iterator[tuple[int, Cells]]] = field(repr=False)

    def pick(self, *columns: str | None) -> Iterator[tuple[int, Cells]]:
        """Yield line number (the first row of data is 2 in CSV, 1 elsewhere) and the cells of `columns`.

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
        """Return the columns whose name is one of `spellings` (ignoring case, blanks and hyphens), in that order."""
        plain = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(self.names)}
        return [plain[spelling] for spelling in spellings if spelling in plain]


def open_table(path: Path) -> TableRows:
    """Return the table in a file; BadData when it is empty or damaged, MissingExtra for Parquet without pyarrow."""
    suffix = path.suffix.lower()
    try:
        if suffix in (".parquet", ".pq"):
            return _parquet(path)
        return _jsonl(path) if suffix in (".jsonl", ".ndjson", ".manifest", ".json") else _csv(path)
    except OSError as error:
        raise BadData(str(path), f"it cannot be read ({error.strerror or error})") from None


def text(value: Any) -> str | None:
    """Return the text of a cell: 3.0 is "3", NaN and null are None."""
    if value is None or value != value:  # NaN differs from itself, whatever its type
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _csv(path: Path) -> TableRows:
    with path.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a byte order mark
        try:
            head = stream.readline()
        except UnicodeDecodeError:
            raise _not_utf8(path) from None
    if "\0" in head:
        raise _not_utf8(path)
    mark = max(",;\t|", key=head.count)  # a tie goes to the comma
    names = next(csv.reader([head], delimiter=mark), [])
    if not names:
        raise BadData(str(path), "it is empty", fix="Its first line must name the columns.")

    def reading(columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        places = [names.index(column) for column in columns]
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.reader(stream, delimiter=mark)
            try:
                next(table)
                for row in table:
                    if len(row) == len(names):
                        yield table.line_num, tuple(row[place].strip() or None for place in places)
                    elif row:  # an empty line is none
                        problem = f"line {table.line_num} has {len(row)} cells, the header has {len(names)}"
                        raise BadData(str(path), problem, fix="Quote cells that hold the separator.")
            except UnicodeDecodeError:
                raise _not_utf8(path) from None
            except csv.Error as error:
                raise BadData(str(path), f"line {table.line_num} is not CSV ({error})") from None

    return TableRows(path, tuple(names), reading)


def _not_utf8(path: Path) -> BadData:
    with path.open("rb") as stream:
        start = stream.read(4)
    # A byte order mark of either order, or the zero bytes of plain letters without a mark.
    is_utf16 = start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in start
    problem = "it is UTF-16 text, not UTF-8" if is_utf16 else "it is not UTF-8 text (Latin-1 or Windows-1252, perhaps)"
    return BadData(str(path), problem, fix="Save it as UTF-8; Excel calls that CSV UTF-8.")


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
                    raise _not_utf8(path)
                row = json.loads(words)
                if not isinstance(row, dict):
                    raise BadData(str(path), f"line {line} is not a JSON object")
                yield line, row
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
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
        raise BadData(str(path), f"it is not a Parquet file ({str(error).splitlines()[0]})") from None

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
