"""Writer of RecordIO files with image records, as im2rec writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

MAGIC = struct.pack("<I", 0xCED7230A)


def image_record(number: int, labels: Sequence[float], image: bytes) -> bytes:
    """Return the data of a record; a single label is in its header, several stand behind it."""
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], number, 0) + image
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0.0, number, 0, *labels) + image


def record_file(records: Iterable[bytes]) -> bytes:
    """Return a file of records; one whose data have the magic number at a multiple of 4 is split there."""
    return b"".join(_chunks(data) for data in records)


def _chunks(data: bytes) -> bytes:
    places = [place for place in range(0, len(data) - 3, 4) if data[place : place + 4] == MAGIC]
    starts, ends = [0, *(place + 4 for place in places)], [*places, len(data)]
    parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    flags = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
        for flag, part in zip(flags, parts, strict=True)
    )
