"""Index: records as lines of JSON, with their arrays in blobs.

A line `{"layout": 0, "names": [...], "collections": [...]}` names the rows of later snapshots, once. Every other line
is a record, e.g. `{"kind": "snapshot", "at": ["train", 10, 1, 10], "layout": 0,
"blob": ["000-000007", 8192], "key": "3", "crc": 123}`: the blob's name and size in bytes, the record's key in it, and
the CRC-32 of its arrays.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from clearsight.core.errors import BadData, BadValue
from clearsight.core.tensors import (
    Event,
    Moment,
    PredictionRecord,
    RawTensor,
    SavedRecord,
    Scalars,
    Snapshot,
    read_moment,
)

Arrays = dict[str, npt.NDArray[Any]]
Layout = tuple[tuple[str, ...], tuple[str, ...]]  # names and collections of the rows of a snapshot

# Words of the files of every version, some older than the names of the classes.
_WORDS = {Scalars: "scalars", Snapshot: "snapshot", PredictionRecord: "outcomes", RawTensor: "raw", Event: "event"}
_KINDS: dict[str, type] = {word: kind for kind, word in _WORDS.items()}
# Predictions, with the numpy types that are stored.
_COLUMNS = {"labels": "i8", "predictions": "i8", "confidence": "f4", "true_probability": "f4", "indices": "i8"}
_STORED = frozenset("?bhilqBHILQefdF")  # numpy type codes that a safetensors file has a type for


class DamagedBlob(BadData):
    """Raised for a blob that is missing or differs from what was written."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A record whose arrays stay on disk until `load`."""

    kind: type
    at: Moment
    line: Mapping[str, Any]
    layout: Layout
    folder: Path

    @property
    def blob(self) -> Path | None:
        """The file with its arrays."""
        return self.folder / f"{self.line['blob'][0]}.safetensors" if "blob" in self.line else None

    def is_complete(self) -> bool:
        """Return True if its blob is there in full length."""
        blob = self.blob
        return blob is None or (blob.is_file() and blob.stat().st_size == self.line["blob"][1])

    def load(self, blobs: BlobReader | None = None) -> SavedRecord:
        """Return the record. Raises DamagedBlob."""
        line, blobs = self.line, blobs or BlobReader()
        if self.kind is Scalars:
            return Scalars(self.at, line["values"])
        if self.kind is Event:
            return Event(self.at, line["event"], line["subject"], line["facts"])
        if self.kind is PredictionRecord:
            return PredictionRecord(self.at, *self._arrays(blobs, _COLUMNS, line["rows"]))
        key = line["key"]
        if self.kind is RawTensor:
            return RawTensor(self.at, line["name"], line["collection"], *self._arrays(blobs, [key]))
        keys = [key, f"{key}.histograms"] if line["histograms"] else [key]
        return Snapshot(self.at, *self.layout, *self._arrays(blobs, keys))

    def _arrays(self, blobs: BlobReader, keys: Iterable[str], rows: Sequence[int] = ()) -> list[npt.NDArray[Any]]:
        path = self.blob
        assert path is not None
        arrays = blobs.read(path, keys, rows)
        # A loss of power can leave a file of the right length with the wrong bytes.
        if checksum(arrays) != self.line["crc"]:
            raise DamagedBlob(str(path), "its content differs from what was written")
        return arrays


class BlobReader:
    """Reads arrays from blobs; the last blob stays open, since records that follow each other often share it."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: Any = None
        self._columns: Arrays = {}  # of the open blob, those of which rows were asked for

    def read(self, path: Path, keys: Iterable[str], rows: Sequence[int] = ()) -> list[npt.NDArray[Any]]:
        """Return the arrays under `keys`, or their rows from `rows[0]` to before `rows[1]`. Raises DamagedBlob."""
        try:
            # Opening a safetensors file parses its header, which takes longer than reading a small array.
            if path != self._path:
                self._path, self._file, self._columns = path, safe_open(path, "np"), {}
            if not rows:
                return [self._file.get_tensor(key) for key in keys]
            self._columns |= {key: self._file.get_tensor(key) for key in keys if key not in self._columns}
            return [self._columns[key][rows[0] : rows[1]] for key in keys]
        except (SafetensorError, OSError) as error:
            self._path = None  # the file may be complete at the next call
            raise DamagedBlob(str(path), "it is missing or damaged") from error


def parse(line: Mapping[str, Any], layouts: Mapping[int, Layout], folder: Path) -> IndexEntry:
    """Return the entry of an index line. Raises KeyError, ValueError or TypeError for what is no entry."""
    layout = layouts[line["layout"]] if line["kind"] == "snapshot" else ((), ())
    return IndexEntry(_KINDS[line["kind"]], read_moment(*line["at"]), line, layout, folder)


def checksum(arrays: Iterable[npt.NDArray[Any]]) -> int:
    """Return the CRC-32 over the bytes of the arrays, one after the other."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, crc)
    return crc


def encode(records: Iterable[SavedRecord], layouts: dict[Layout, int]) -> tuple[list[dict[str, Any]], Arrays]:
    """Return index lines and blob arrays of records; lines with arrays have a "crc" and still lack their "blob".

    layouts: those of the index, by number; new ones are added.
    Raises BadValue for a tensor whose type cannot be stored.
    """
    lines: list[dict[str, Any]] = []
    arrays: Arrays = {}
    # Predictions of all batches become one array per field: a blob of thousands of small tensors would be slow.
    predictions: list[PredictionRecord] = []
    rows = 0
    for place, record in enumerate(records):
        at, key = record.at, str(place)
        moment = [str(at.mode), int(at.step), int(at.epoch), int(at.train_step)]
        line: dict[str, Any] = {"kind": _WORDS[type(record)], "at": moment}
        match record:
            case Scalars():
                line["values"] = {name: float(value) for name, value in record.values.items()}
            case Event():
                # "facts" is the name of `details` in the files of every version.
                line |= {"event": record.kind, "subject": record.subject, "facts": dict(record.details)}
            case PredictionRecord():
                predictions.append(record)
                end = rows + len(record.labels)
                line |= {"rows": [rows, end], "crc": checksum(_columns(record))}
                rows = end
            case RawTensor():
                arrays[key] = _plain(record.name, record.value)
                line |= {"name": record.name, "collection": record.collection, "key": key}
                line["crc"] = checksum([arrays[key]])
            case Snapshot():
                layout = (tuple(record.names), tuple(record.collections))
                if layout not in layouts:
                    layouts[layout] = len(layouts)
                    lines.append({"layout": layouts[layout], "names": layout[0], "collections": layout[1]})
                parts = {key: np.asarray(record.table, np.float32, order="C")}
                if record.histograms is not None:
                    parts[f"{key}.histograms"] = np.asarray(record.histograms, np.float32, order="C")
                arrays |= parts
                line |= {"layout": layouts[layout], "key": key, "histograms": record.histograms is not None}
                line["crc"] = checksum(parts.values())
        lines.append(line)
    if predictions:
        columns = zip(*map(_columns, predictions), strict=True)
        arrays |= {name: np.concatenate(parts) for name, parts in zip(_COLUMNS, columns, strict=True)}
    return lines, arrays


def dump(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the bytes of index lines."""
    return "".join(json.dumps(line, separators=(",", ":"), default=_native) + "\n" for line in lines).encode()


def _columns(record: PredictionRecord) -> list[npt.NDArray[Any]]:
    return [np.asarray(getattr(record, field), kind) for field, kind in _COLUMNS.items()]


def _plain(name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # safetensors writes an array's memory as it lies and declares it row-major: other layouts must be copied first.
    array = np.asarray(value, order="C")
    if array.dtype.char not in _STORED:
        raise BadValue(f"tensor {name}", f"values of type {array.dtype} cannot be saved", fix="Save it as numbers.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _native(value: Any) -> Any:
    # Details of an event may hold numbers of numpy.
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
