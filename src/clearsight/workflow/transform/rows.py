"""Rows of an output file: how JSON lines and CSV write an image's outcome, and Parquet made of JSON lines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from clearsight.core.appended_file import is_csv_row, is_line
from clearsight.core.errors import missing_extra
from clearsight.core.files import atomic
from clearsight.core.format import encodable
from clearsight.core.safe_text import csv_text
from clearsight.serving.payload import record
from clearsight.workflow.transform.classifiers import Outcome

TOP = 5  # classes in the ranking, as an endpoint lists them
_CHUNK = 4096  # rows of Parquet in memory


class RowFormat(Protocol):
    """Format of an output file: the bytes of its rows, and what can be told from them."""

    def header(self) -> bytes: ...
    def row(self, name: str, outcome: Outcome) -> bytes: ...
    def start(self, name: str) -> bytes:
        """Return the first bytes of every row of this image."""

    def is_error(self, row: bytes, start: bytes) -> bool:
        """Return True for a row of an image that could not be read."""

    def is_whole(self, record: bytes) -> bool: ...


class JsonLines:
    """A JSON object per line: path with the values of an endpoint's response, or with error."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes

    def header(self) -> bytes:
        """Return b"": there is none."""
        return b""

    def row(self, name: str, outcome: Outcome) -> bytes:
        """Return the line of an image."""
        return json_bytes({"path": name, **response_values(outcome, self._classes)}) + b"\n"

    def start(self, name: str) -> bytes:
        """Return the line up to the value after the path."""
        return json_bytes({"path": name})[:-1] + b", "

    def is_error(self, row: bytes, start: bytes) -> bool:
        """Return True for a row with error."""
        return row.startswith(b'"error"', len(start))

    is_whole = staticmethod(is_line)


class CsvRows:
    """A CSV with the columns of `clearsight predict --csv`: path, label, probability, a column per class, error."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes

    def header(self) -> bytes:
        """Return the row of column names."""
        return _csv(["path", "label", "probability", *(f"p:{name}" for name in self._classes), "error"])

    def row(self, name: str, outcome: Outcome) -> bytes:
        """Return the row of an image."""
        if isinstance(outcome, str):
            return _csv([name, None, None, *(None for _ in self._classes), outcome])
        best = int(outcome.argmax())
        return _csv([name, self._classes[best], f"{outcome[best]:.6g}", *(f"{p:.6g}" for p in outcome), None])

    def start(self, name: str) -> bytes:
        """Return the cell of the path with the comma after it."""
        return _csv([name, None])[:-1]

    def is_error(self, row: bytes, start: bytes) -> bool:
        """Return True for a row without a label."""
        return row.startswith(b",", len(start))

    is_whole = staticmethod(is_csv_row)


def response_values(outcome: Outcome, classes: Sequence[str]) -> dict[str, Any]:
    """Return the JSON values with which an endpoint answers: of a row of probabilities, or of an error."""
    return {"error": outcome} if isinstance(outcome, str) else record(outcome, classes, TOP)


def json_bytes(value: Any) -> bytes:
    """Return `value` as one line of JSON; escapes stand for characters that UTF-8 lacks, as of broken file names."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return (text if encodable(text) else json.dumps(value, allow_nan=False)).encode()


def _csv(cells: Sequence[object]) -> bytes:
    return csv_text([cells]).encode(errors="replace")


def check_parquet() -> None:
    """Raise MissingExtra without pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise missing_extra("pyarrow", "parquet", "an output in .parquet") from None


def write_parquet(lines: Path, path: Path, classes: Sequence[str]) -> None:
    """Write the rows of JSON lines as Parquet, with the columns of the CSV; a part of them in memory at a time."""
    import pyarrow as arrow
    from pyarrow import parquet

    numbers = [(f"p:{name}", arrow.float64()) for name in classes]
    text = arrow.string()
    schema = arrow.schema(
        [("path", text), ("label", text), ("probability", arrow.float64()), *numbers, ("error", text)]
    )
    with atomic(path) as part, parquet.ParquetWriter(part, schema) as writer, lines.open("rb") as stream:
        while chunk := [json.loads(line) for line in itertools.islice(stream, _CHUNK)]:
            columns = [[row.get(name) for row in chunk] for name in ("path", "label", "probability")]
            columns += [[row.get("probabilities", {}).get(name) for row in chunk] for name in classes]
            columns.append([row.get("error") for row in chunk])
            arrays = [arrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def parquet_rows(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield path of the image, and True for an error, of each row that `write_parquet` wrote."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as table:
        for batch in table.iter_batches(columns=["path", "error"]):
            for row in batch.to_pylist():
                yield row["path"], row["error"] is not None
