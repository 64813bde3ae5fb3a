"""TFRecord framing: the records of a .tfevents file, each with its length and checksums.

A record is: length as u64, masked CRC-32C of these 8 bytes as u32, the payload, a u32 over the payload, all little
endian. smdebug fills the last number with the checksum of a constant, for speed; TensorBoard wants the real one.
"""

from __future__ import annotations

import struct
from typing import Iterator

from smdebug.exceptions import CorruptFile

_UNCHECKED = b"0x12345678"  # what the last number is the checksum of, where payloads are not checked
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78  # Castagnoli, with the bits reversed


def _make_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ _POLYNOMIAL if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data`: 32 bits, 0xE3069283 for b"123456789"."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Return the checksum as TFRecord holds it: rotated and shifted, so that checksums of checksums differ."""
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


_UNCHECKED_SUM = masked_crc32c(_UNCHECKED)


def frame(payload: bytes, *, checksum: bool = False) -> bytes:
    """Return the record of a payload. checksum: protect the payload too, at about 5 MB/s."""
    length = struct.pack("<Q", len(payload))
    last = masked_crc32c(payload) if checksum else _UNCHECKED_SUM
    return length + _CHECKSUM.pack(masked_crc32c(length)) + payload + _CHECKSUM.pack(last)


def payloads(data: bytes, *, check: bool = False) -> Iterator[bytes]:
    """Yield the payloads of all records. check: verify the payloads that have a checksum. Raises CorruptFile."""
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER.size:
            raise CorruptFile(f"record at byte {position}: the file ends inside its header.")
        length, header_sum = _HEADER.unpack_from(data, position)
        if masked_crc32c(data[position : position + 8]) != header_sum:
            raise CorruptFile(f"record at byte {position}: the checksum of its length does not match.")
        start = position + _HEADER.size
        position = start + length + _CHECKSUM.size
        if position > len(data):
            raise CorruptFile(f"record at byte {start - _HEADER.size}: the file ends inside it.")
        payload = data[start : start + length]
        (payload_sum,) = _CHECKSUM.unpack_from(data, start + length)
        if check and payload_sum not in (_UNCHECKED_SUM, masked_crc32c(payload)):
            raise CorruptFile(f"record at byte {start - _HEADER.size}: its checksum does not match.")
        yield payload
