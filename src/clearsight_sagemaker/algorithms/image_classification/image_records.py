"""RecordIO files of MXNet with image records: index, label and an encoded image each.

A file is a sequence of chunks: a magic number, a length with a flag in its upper three bits, the data, and zeros up to
a multiple of four bytes. A record whose data contain the magic number is split there into several chunks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clearsight.core.errors import BadData

_MAGIC = struct.pack("<I", 0xCED7230A)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)  # flags of chunks
_LENGTH_BITS = 29
_HEADER = struct.Struct("<IfQQ")  # number of labels or 0, label, index, second index
_MOST_RECORD = 256 << 20  # bytes of a record


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A record. number: its index in the file of lists, not its position.  labels: one, or several.  image: encoded."""

    number: int
    labels: tuple[float, ...]
    image: bytes


def read_records(path: Path) -> Iterator[ImageRecord]:
    """Yield the image records of a file. Raises BadData for a file that is damaged or of another kind."""
    with path.open("rb") as file:
        for number, data in enumerate(_raw_records(file, path)):
            yield _image_record(data, f"{path} record {number}")


def _raw_records(file: IO[bytes], path: Path) -> Iterator[bytes]:
    parts: list[bytes] = []
    while head := file.read(8):
        location = f"{path} byte {file.tell() - len(head)}"
        if len(head) < 8 or head[:4] != _MAGIC:
            problem = "no record begins here" if len(head) == 8 else "the file ends within a record"
            raise BadData(location, problem, fix="Files must be RecordIO of MXNet, as im2rec writes them.")
        (word,) = struct.unpack("<I", head[4:])
        flag, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        if length + sum(map(len, parts)) > _MOST_RECORD:
            raise BadData(location, f"a record has more than {_MOST_RECORD >> 20} MiB")
        data = file.read(length)
        padding = -length % 4
        if len(data) < length or len(file.read(padding)) < padding:
            raise BadData(location, "the file ends within a record")
        if flag > _LAST or (flag in (_MIDDLE, _LAST)) != bool(parts):
            raise BadData(location, "the parts of a record are not in order")
        parts.append(data)
        if flag in (_WHOLE, _LAST):
            yield _MAGIC.join(parts)
            parts = []
    if parts:
        raise BadData(str(path), "the file ends within a record")


def _image_record(data: bytes, location: str) -> ImageRecord:
    if len(data) < _HEADER.size:
        raise BadData(
            location, f"an image record has {_HEADER.size} bytes of header, and this one has {len(data)} in all"
        )
    count, label, number, _ = _HEADER.unpack_from(data)
    end = _HEADER.size + 4 * count
    if end > len(data):
        raise BadData(location, f"it says that it has {count} labels, and ends before them")
    labels = struct.unpack_from(f"<{count}f", data, _HEADER.size) if count else (label,)
    if not all(map(math.isfinite, labels)):
        raise BadData(location, "its label is no finite number")
    return ImageRecord(number=number, labels=tuple(labels), image=data[end:])
