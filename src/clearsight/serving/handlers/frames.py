"""Frames between an endpoint's worker and the process of a model: a JSON head and a body, each with its length."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct("!IQ")  # bytes of the head, bytes of the body
MOST_BYTES = 1 << 30  # of a body: what is longer is no response


def frame(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a frame."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def receive(connection: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Return the next frame of a blocking socket; raises EOFError at its end, TimeoutError."""
    head_bytes, body_bytes = _LENGTHS.unpack(_exactly(connection, _LENGTHS.size))
    head: dict[str, Any] = json.loads(_exactly(connection, head_bytes))
    return head, _exactly(connection, body_bytes)


async def read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes]:
    """Return the next frame of a stream; raises IncompleteReadError at its end, ValueError for a body too long."""
    head_bytes, body_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    if body_bytes > MOST_BYTES:
        raise ValueError(f"a body of {body_bytes} bytes; at most {MOST_BYTES} are allowed")
    head: dict[str, Any] = json.loads(await reader.readexactly(head_bytes))
    return head, await reader.readexactly(body_bytes)


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(min(count - len(received), 1 << 20))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)
