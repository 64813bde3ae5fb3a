"""Event streams of AWS: messages of headers and a payload, each with its lengths and checksums."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

_MOST_PAYLOAD = 1 << 16  # bytes of a part: clients show the first ones before the last have come
_STRING = 7  # type of a header's value

MEDIA_TYPE = "application/vnd.amazon.eventstream"


def payload_parts(body: bytes) -> Iterator[bytes]:
    """Yield the messages that carry a body, one for an empty one."""
    for start in range(0, max(1, len(body)), _MOST_PAYLOAD):
        headers = {
            ":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"
        }  # fmt: skip
        yield message(headers, body[start : start + _MOST_PAYLOAD])


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """Return a message: lengths, their checksum, headers, payload, and a checksum of all before it."""
    block = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    start = prelude + struct.pack("!I", zlib.crc32(prelude)) + block + payload
    return start + struct.pack("!I", zlib.crc32(start))


def _header(name: str, value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(encoded)) + encoded
