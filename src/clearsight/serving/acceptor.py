"""Acceptor: takes connections from a listening socket within the limits of the system."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable

LOG = logging.getLogger("clearsight.serving")

_RESERVED = 32  # file descriptors for everything that is no connection
_AT_ONCE = 64  # connections taken before the loop does other work
_HANDSHAKE_SECONDS = 10.0  # of TLS
_PAUSE_SECONDS = 0.2  # after an error of the system
_LOG_SECONDS = 10.0  # between two lines about the same thing

# Sent unasked where no connection can be spared for reading the request.
REFUSAL = b'{"error": "The endpoint has too many connections. Try again in a second."}'
_RAW_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n%s" % (len(REFUSAL), REFUSAL)
)


class Acceptor:
    """Accepts for one event loop until it is stopped.

    Without file descriptors, `make_room` is called and accepting pauses; asyncio's own server would log a traceback for
    each of its attempts, hundreds at a time.
    connections: open at a time; one beyond it is refused unless `make_room` closes another.  tls: None for plain HTTP.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[socket.socket], asyncio.Protocol],
        *,
        open_connections: Callable[[], int],
        make_room: Callable[[], bool],
        connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._listener, self._protocol = listener, protocol
        self._open, self._make_room, self._connections = open_connections, make_room, connections
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0

    def start(self) -> None:
        """Accept from now on."""
        self._resume = None
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Accept nothing more; connections stay."""
        self._loop.remove_reader(self._listener)
        if self._resume is not None:
            self._resume.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            if self._tasks and self._open() + len(self._tasks) >= self._connections:
                return  # those just taken must be connected first: one of them may be the idlest
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # out of file descriptors or of memory for sockets
                self._make_room()
                self._say(f"no connection can be accepted ({error.strerror}); idle ones are closed first")
                self._loop.remove_reader(self._listener)
                self._resume = self._loop.call_later(_PAUSE_SECONDS, self.start)
                return
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if self._open() + len(self._tasks) >= self._connections and not self._make_room():
            self._say(f"a connection was refused: {self._connections} are open and in use")
            self._refuse(connection)
            return
        # Made at once, and not once the task runs: from now on somebody else may have to answer the client.
        protocol = self._protocol(connection)
        task: asyncio.Task[object] = self._loop.create_task(self._connect(connection, protocol))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket, protocol: asyncio.Protocol) -> None:
        try:
            seconds = _HANDSHAKE_SECONDS if self._tls is not None else None
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=seconds
            )
        except OSError:  # it is gone already, or does not speak TLS
            connection.close()

    def _refuse(self, connection: socket.socket) -> None:
        """Write the response without reading the request, and close once the client has had time to read it."""
        try:
            if self._tls is None:  # a handshake takes what there is none of
                connection.send(_RAW_REFUSAL)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)  # what has arrived: closing a socket with unread bytes resets it
        except OSError:
            pass
        finally:
            connection.close()

    def _say(self, sentence: str) -> None:
        if (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _LOG_SECONDS
            LOG.warning("%s", sentence)


def connection_limit(most: int) -> int:
    """Return how many connections this process can have, at most `most`, by its limit of file descriptors.

    The soft limit is raised towards the hard one as far as it takes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else _RESERVED
    wanted = most + used + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft - used - _RESERVED))
