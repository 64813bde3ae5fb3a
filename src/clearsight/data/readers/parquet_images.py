"""Parquet files that hold the images themselves, as the Hugging Face hub stores them; one file or a folder of shards.

An image is a struct {bytes, path} or a binary value. Labels are numbers with names in the schema's metadata
(ClassLabel), or numbers or names alone. `data/train-00000-of-00002.parquet` names the split.

A listing reads the labels alone. Images are copied by row group, when the first of a group is asked for, to an
anonymous temporary file: a row group has no random access, and neither it nor the file may fit in memory.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.dataset import Listing, Notice, ReadOptions, Record
from clearsight.core.errors import BadChoice, BadData, BadImage, missing_extra
from clearsight.data.containers import sniff
from clearsight.data.readers.support.column_names import LABELS, PATHS
from clearsight.data.readers.support.files import MAX_FILE_BYTES, file_stamp, shard_name, shard_split, shards
from clearsight.data.readers.support.rows import text
from clearsight.data.readers.support.spool import Spool

SUFFIXES = (".parquet", ".pq")
_LABELS = (*LABELS, "fine_label", "fine_labels", "coarse_label")
_IMAGES = ("image", "img", "picture", "jpg", "png", *PATHS)
_BATCH = 32  # rows whose images are in memory at a time
_HEAD = 20  # rows in which a binary value must be an image


@dataclass
class _Shard:
    """One file. starts: first row of each row group, and the number of rows."""

    path: Path
    name: str
    image: str
    starts: list[int]
    features: Mapping[str, Any]
    columns: Mapping[str, Any]  # Arrow types by name
    spool: Spool | None = None
    places: dict[int, tuple[int, int] | str] = field(default_factory=dict)  # row to offset and size, or a problem
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, row: int, locator: str) -> bytes:
        with self.lock:
            if row not in self.places:
                self._copy_group(max(i for i, start in enumerate(self.starts[:-1]) if start <= row))
            place = self.places.get(row, "the file ends before it")
        if isinstance(place, str) or self.spool is None:
            raise BadImage(locator, str(place))
        return self.spool.read(*place)

    def _copy_group(self, group: int) -> None:
        if self.spool is None:
            self.spool = Spool(self.path)
            weakref.finalize(self, self.spool.stream.close)  # no caller closes a source
        row = self.starts[group]
        with _opened(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group], columns=[self.image]):
                for value in batch.column(0).to_pylist():
                    data: Any = value.get("bytes") if isinstance(value, dict) else value
                    self.places[row] = _problem(value, data) or (self.spool.append(data), len(data))
                    row += 1


class ParquetImagesSource:
    """Images by shard and row."""

    def __init__(self, found: Mapping[str, _Shard]) -> None:
        self._shards = found

    def read(self, locator: str) -> bytes:
        """Return the encoded image; BadImage when its row has none, or the file is damaged there."""
        name, _, row = locator.rpartition("/")
        shard = self._shards.get(name)
        if shard is None or not row.isdecimal() or int(row) >= shard.starts[-1]:
            raise BadImage(locator, "there is no such image")
        try:
            return shard.read(int(row), locator)
        except BadData as error:
            raise BadImage(locator, error.problem) from None

    def stamp(self, locator: str) -> str:
        """Return size and time of the file, and the row."""
        shard = self._shards.get(locator.rpartition("/")[0])
        return f"{file_stamp(shard.path)}-{locator}" if shard else "missing"


class ParquetImagesReader:
    """A Parquet file with a column of images, or a folder with such files in it."""

    name = "parquet-images"

    def recognises(self, path: Path) -> bool:
        try:
            return any(_image_column(file)[0] for file in shards(path, SUFFIXES)[:1])
        except ImportError:
            return path.is_dir()  # `read` names the extra; a single file may be a table of paths
        except (OSError, BadData):
            return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every row; a row without a label goes to the predict split."""
        files = shards(path, SUFFIXES)
        if not files:
            raise BadData(str(path), "there is no Parquet file")
        try:
            found = [_shard(file, shard_name(file, path)) for file in files]
        except ImportError:
            raise missing_extra("pyarrow", "parquet", str(path)) from None
        columns = [_label_column(shard, options) if options.labels else (None, ()) for shard in found]
        if options.labels and options.label_column is not None and not any(column for column, _ in columns):
            allowed = [name for name in found[0].columns if name != found[0].image]
            flag = f"--label-column {options.label_column}"
            raise BadChoice(flag, f"{path.name} has no such column", got=options.label_column, allowed=allowed)
        records: list[Record] = []
        classes: tuple[str, ...] = ()
        for shard, (column, _) in zip(found, columns, strict=True):
            names = _class_names(shard, column)
            classes = classes or names
            split = shard_split(shard.name)
            for row, label in enumerate(_labels(shard, column, names)):
                place = split if label is not None else "predict"
                records.append(Record(locator=f"{shard.name}/{row}", label=label, split=place))
        used = {record.label for record in records} - {None}
        return Listing(
            records=tuple(records),
            source=ParquetImagesSource({shard.name: shard for shard in found}),
            format=self.name,
            classes=classes if used <= set(classes) else (),
            notices=tuple(dict.fromkeys(notice for _, notices in columns for notice in notices)),
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the open file; damage becomes BadData."""
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one for the name of a column
        raise BadData(str(path), f"it cannot be read as Parquet ({str(error).splitlines()[0][:120]})") from None


def _problem(value: Any, data: Any) -> str:
    """Return why a value is no encoded image, "" if it may be one."""
    if not isinstance(data, bytes):
        path = value.get("path") if isinstance(value, dict) else None
        return f"its row holds the path {path} and no bytes" if path else "its row holds no image"
    return f"it has more than {MAX_FILE_BYTES >> 20} MiB" if len(data) > MAX_FILE_BYTES else ""


def _image_column(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the column of images, "" without one, and the types of all columns."""
    from pyarrow import types

    with _opened(path) as file:
        columns = {column.name: column.type for column in file.schema_arrow}
        structs, binary = [], []
        for name, kind in columns.items():
            if types.is_struct(kind) and "bytes" in [kind.field(i).name for i in range(kind.num_fields)]:
                structs.append(name)
            elif types.is_binary(kind) or types.is_large_binary(kind):
                binary.append(name)
        usual = [name for name in _IMAGES if name in structs] or structs
        if not usual and binary and file.metadata.num_rows:
            batch = next(file.iter_batches(batch_size=_HEAD, columns=binary))
            usual = [name for name in binary if any(sniff(v or b"") for v in batch.column(name).to_pylist())]
        return (usual[0] if usual else ""), columns


def _shard(path: Path, name: str) -> _Shard:
    image, columns = _image_column(path)
    if not image:
        raise BadData(str(path), f"none of its columns holds images; it has {', '.join(list(columns)[:12])}")
    with _opened(path) as file:
        starts = [0]
        for group in range(file.num_row_groups):
            starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        return _Shard(path, name, image, starts, _features(file.schema_arrow.metadata), columns)


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    """Return the features that the Hugging Face library writes into the schema, {} without them."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(shard: _Shard, column: str | None) -> tuple[str, ...]:
    feature = shard.features.get(column or "")
    names = feature.get("names") if isinstance(feature, dict) else None
    if isinstance(names, dict):  # {"0": "cat"}, as in the header of a dataset card
        names = [names[number] for number in sorted(names, key=lambda number: (len(number), number))]
    return tuple(map(str, names)) if isinstance(names, list) and len(set(map(str, names))) == len(names) else ()


def _label_column(shard: _Shard, options: ReadOptions) -> tuple[str | None, tuple[Notice, ...]]:
    """Return the column with the classes, None without one, and a notice where another could be meant."""
    others = [name for name in shard.columns if name != shard.image]
    if options.label_column is not None:
        return (options.label_column if options.label_column in others else None), ()
    declared = [name for name in others if _class_names(shard, name)]
    usual = [name for spelling in _LABELS for name in others if name.lower() == spelling]
    candidates = list(dict.fromkeys([*(name for name in usual if name in declared), *declared, *usual]))
    if not candidates and len(others) == 1 and _is_plain(shard.columns[others[0]]):
        candidates = others
    if not candidates:
        return None, (_unlabelled(shard, others),) if shard_split(shard.name) in (None, "train", "valid") else ()
    if len(candidates) == 1:
        return candidates[0], ()
    text = f"classes are read from column {candidates[0]!r}; --label-column {candidates[1]} would take the other"
    return candidates[0], (Notice(code="label-column", text=text),)


def _unlabelled(shard: _Shard, others: list[str]) -> Notice:
    held = f"it has {', '.join(others[:12])}; choose one with --label-column" if others else "it has no other column"
    return Notice(code="no-labels", text=f"{shard.name}: no column was taken as the labels ({held})")


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_string, types.is_large_string, types.is_boolean)
    return any(test(kind) for test in tests)


def _labels(shard: _Shard, column: str | None, names: tuple[str, ...]) -> Iterator[str | None]:
    if column is None:
        yield from [None] * shard.starts[-1]
        return
    from pyarrow import types

    if types.is_nested(shard.columns[column]):
        problem = f"column {column!r} holds several values per image (multi-label)"
        raise BadData(str(shard.path), problem, fix="clearsight trains one class per image.")
    with _opened(shard.path) as file:
        for batch in file.iter_batches(columns=[column]):
            for value in batch.column(0).to_pylist():
                # -1 is how the hub stores the label of an image without one.
                is_number = isinstance(value, int) and not isinstance(value, bool)
                if names and is_number:
                    yield names[value] if 0 <= value < len(names) else None if value == -1 else str(value)
                else:
                    yield text(value)


READER = ParquetImagesReader()
