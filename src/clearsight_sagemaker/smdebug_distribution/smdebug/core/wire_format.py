"""Protocol-buffer wire format: the fields of a message as bytes, and back.

Only what event files need: varints, 64-bit and 32-bit numbers, bytes. It knows no message; `event_message` does.
"""

from __future__ import annotations

import struct
from typing import Iterable, Iterator

from smdebug.exceptions import CorruptFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


def varint_bytes(number: int) -> bytes:
    """Return a whole number in [-2**63, 2**64) as a varint; negative ones have ten bytes."""
    number &= 0xFFFFFFFFFFFFFFFF
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def varint_field(field: int, number: int) -> bytes:
    """Return a field with a whole number; empty for 0, the default."""
    return varint_bytes(field << 3 | VARINT) + varint_bytes(number) if number else b""


def double_field(field: int, number: float) -> bytes:
    """Return a field with a float64; empty for 0, the default."""
    packed = struct.pack("<d", number)
    return varint_bytes(field << 3 | FIXED64) + packed if packed != bytes(8) else b""


def float_field(field: int, number: float) -> bytes:
    """Return a field with a float32, 0 too: its presence has a meaning."""
    return varint_bytes(field << 3 | FIXED32) + struct.pack("<f", number)


def bytes_field(field: int, content: bytes) -> bytes:
    """Return a field with bytes, text or a message, empty ones too."""
    return varint_bytes(field << 3 | BYTES) + varint_bytes(len(content)) + content


def packed_doubles_field(field: int, numbers: Iterable[float]) -> bytes:
    """Return a repeated field of float64."""
    return bytes_field(field, b"".join(struct.pack("<d", number) for number in numbers))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: whole numbers as int, everything else as bytes. Raises CorruptFile."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == VARINT:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        if kind == BYTES:
            size, position = _varint(message, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise CorruptFile(f"message: field {key >> 3} has the unknown wire type {kind}.")
        if size > end - position:
            raise CorruptFile(f"message: it ends inside field {key >> 3}.")
        yield key >> 3, message[position : position + size]
        position += size


def signed(number: int) -> int:
    """Return a varint of an int64 field as a signed number."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the varint at `position` and the position after it."""
    number = 0
    for count, byte in enumerate(message[position : position + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position + count + 1
    raise CorruptFile("message: a number has no end.")
