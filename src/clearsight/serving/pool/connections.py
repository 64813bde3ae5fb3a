"""Connections that a worker shares with its pool, so that a client is answered when the worker is killed.

The worker sends the pool a copy of the file descriptor of each connection, and notes in shared memory how many bytes it
had received with the last request that it has answered. Nothing else of a connection passes through the pool. Where a
worker ends, the kernel knows how many bytes have come in all; where they are more, the pool answers 503, and the client
may send its request again. A flag of the worker would not do: it can be killed between taking the bytes of a request
out of the socket and the next line of Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import socket
import struct
import sys
from pathlib import Path
from typing import Any

LOG = logging.getLogger("clearsight.serving")

SLOTS = 1024  # connections of a worker at a time; more are not shared
_MESSAGE = struct.Struct("!cH")  # opened or closed, slot
_OPENED, _CLOSED = b"o", b"c"
_BYTES_RECEIVED = struct.Struct("=128xQ")  # tcpi_bytes_received of struct tcp_info, linux/tcp.h
_TOGETHER_BYTES = 64 << 10  # of a response that is sent in one piece
_LATE_SECONDS = 5.0  # that a client without a request in progress may take to send one, as between two requests
_LINGER_SECONDS = 2.0  # for the rest of a body that nobody reads any more
_REFUSAL = b'{"error": "The process that had this request has ended. Send the request again."}'
_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
)


class SharedConnections:
    """The worker's side. socket: to the pool.  states: file of SLOTS counts, which the pool has made."""

    def __init__(self, pool: socket.socket, states: Path) -> None:
        self._pool: socket.socket | None = pool
        pool.setblocking(False)
        with states.open("r+b") as file:
            self._answered = memoryview(mmap.mmap(file.fileno(), 8 * SLOTS)).cast("Q")
        self._free = list(range(SLOTS - 1, -1, -1))
        self._unsent: list[int] = []  # slots that have been closed while the pool was slow

    def opened(self, connection: socket.socket) -> int:
        """Share a new connection; return its slot, or -1 where it cannot be shared."""
        if self._pool is None or not self._send_closed() or not self._free:
            return -1
        slot = self._free[-1]
        self._answered[slot] = 0
        try:
            socket.send_fds(self._pool, [_MESSAGE.pack(_OPENED, slot)], [connection.fileno()])
        except BlockingIOError:  # the pool is slow: this one is not shared
            return -1
        except OSError:  # the pool has ended
            self._pool = None
            return -1
        self._free.pop()
        return slot

    def answered(self, slot: int, received: int) -> None:
        """Note that every request is answered in the first `received` bytes of a connection."""
        if slot >= 0:
            self._answered[slot] = received

    def closed(self, slot: int, connection: socket.socket) -> None:
        """End the connection for the pool too, which has it open as well."""
        if slot < 0 or self._pool is None:
            return
        with contextlib.suppress(OSError):  # the client has ended it
            connection.shutdown(socket.SHUT_RDWR)
        self._unsent.append(slot)
        self._send_closed()

    def _send_closed(self) -> bool:
        """Tell the pool of closed connections; return False while it is too slow to take them."""
        while self._unsent and self._pool is not None:
            slot = self._unsent[-1]
            try:
                self._pool.send(_MESSAGE.pack(_CLOSED, slot))
            except BlockingIOError:
                return False
            except OSError:
                self._pool = None
                return False
            self._free.append(self._unsent.pop())
        return True


class OneWrite:
    """Transport that sends head and body of a response together.

    A worker that is killed has sent a response then, or nothing of it, and the pool can answer in its place.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._waiting = transport, bytearray()

    def write(self, data: bytes) -> None:
        """Send with the rest of the response; "100 Continue" and large bodies at once."""
        self._waiting += data
        if len(self._waiting) > _TOGETHER_BYTES or data.startswith(b"HTTP/1.1 100"):
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            self._transport.write(bytes(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        """Send what waits, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CopiedConnections:
    """The pool's side, for one worker; for its event loop. states: file that the worker writes."""

    def __init__(self, states: Path) -> None:
        self._path = states
        states.parent.mkdir(parents=True, exist_ok=True)
        states.write_bytes(bytes(8 * SLOTS))
        with states.open("r+b") as file:
            self._answered = memoryview(mmap.mmap(file.fileno(), 8 * SLOTS)).cast("Q")
        self._socket, self.worker_end = socket.socketpair()
        self._socket.setblocking(False)
        self._copies: dict[int, socket.socket] = {}
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def take_leave(self) -> list[asyncio.Task[None]]:
        """Answer the connections of a worker that has ended; return the tasks that do so."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._receive()
        tasks = [
            asyncio.create_task(_answer(copy, is_busy=_received_bytes(copy) > self._answered[slot]))
            for slot, copy in self._copies.items()
        ]
        self._copies.clear()
        self._socket.close()
        self._answered.release()
        self._path.unlink(missing_ok=True)
        return tasks

    def _receive(self) -> None:
        """Take what the worker has sent; what it sent before its end is still there."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE.size, 1)
            except (BlockingIOError, ConnectionResetError):
                return
            except OSError as error:
                LOG.warning("connections of a worker cannot be shared (%s)", error.strerror)
                return
            if len(message) < _MESSAGE.size:  # the worker has ended
                asyncio.get_running_loop().remove_reader(self._socket)
                return
            kind, slot = _MESSAGE.unpack(message)
            if kind == _OPENED and descriptors:
                self._copies[slot] = socket.socket(fileno=descriptors[0])
            elif kind == _CLOSED and (copy := self._copies.pop(slot, None)) is not None:
                copy.close()


def is_supported() -> bool:
    """Return True where the kernel says how many bytes a connection has received."""
    return sys.platform == "linux"


def _received_bytes(connection: socket.socket) -> int:
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
    [received] = _BYTES_RECEIVED.unpack(information)
    return int(received)


async def _answer(connection: socket.socket, *, is_busy: bool) -> None:
    """Answer a request that is in progress, or that comes within seconds, with 503; close the connection."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    with connection, contextlib.suppress(OSError):
        if not is_busy and not await _received(connection, _LATE_SECONDS):
            return
        await loop.sock_sendall(connection, _RESPONSE)
        connection.shutdown(socket.SHUT_WR)
        end = loop.time() + _LINGER_SECONDS
        # Closing a socket with unread bytes would reset it, and the client would not see the response.
        while loop.time() < end and await _received(connection, end - loop.time()):
            continue


async def _received(connection: socket.socket, seconds: float) -> bool:
    """Return True once bytes have come; False at the end of the connection, or when none came in time."""
    try:
        async with asyncio.timeout(seconds):
            return bool(await asyncio.get_running_loop().sock_recv(connection, 1 << 16))
    except TimeoutError:
        return False
