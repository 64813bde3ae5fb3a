"""The HTTP server around the app: a socket, a loop, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from clearsight.core.errors import BadValue

_HEAD_SECONDS = 10.0  # for the head of a request to arrive, and for the remains of one that was answered early
_IDLE_SECONDS = 5  # between requests on one connection
_FAREWELL_SECONDS = 10  # for requests under way when the server is told to stop
_CONNECTIONS = 512


def serve(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve `app` until SIGINT or SIGTERM, then finish the requests under way and return. For the main thread.

    port: 0 finds a free one.  on_ready: called with the URL once connections are accepted.
    Raises BadValue for an address that cannot be listened on.
    """
    with listening(host, port) as listener:
        _Server(_config(app), lambda: on_ready(url(listener))).run(sockets=[listener])


@contextlib.contextmanager
def background(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` from another thread for the duration of the block, which gets the URL.

    Raises BadValue for an address that cannot be listened on, RuntimeError when the app does not start.
    """
    with listening(host, port) as listener:
        settled = threading.Event()
        server = _Server(_config(app), settled.set)
        thread = threading.Thread(target=_run, args=(server, listener, settled), name="clearsight-server", daemon=True)
        thread.start()
        try:
            settled.wait()
            if not server.started:
                raise RuntimeError("the app did not start; the log says why")
            yield url(listener)
        finally:
            server.should_exit = True
            thread.join(_FAREWELL_SECONDS + 5)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket on `host` and `port`; raises BadValue when the port is taken or the address is elsewhere."""
    if not 0 <= port <= 65535:
        raise BadValue(f"port {port}", "a port is a number from 0 to 65535", fix="Choose 0 for any free one.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise BadValue(f"host {host!r}", "it is not the name of an address here", fix="Try 127.0.0.1.") from None
    with socket.socket(family, kind, protocol) as listener:
        # Without it a restart would wait a minute for the old connections of the same port to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            # Listening is what claims the port: two sockets with SO_REUSEADDR may both be bound to it.
            listener.listen(_CONNECTIONS)
        except OSError as error:
            raise _not_here(host, port, error) from None
        yield listener


def url(listener: socket.socket) -> str:
    """The address that a client on this machine opens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server that tells when it listens, and that returns after a signal instead of raising it again."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and sig == signal.SIGINT  # a second Ctrl-C waits for nothing
        self.should_exit = True


class _Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for the request head.

    uvicorn itself gives a connection that sends nothing, or its head byte by byte, all the time in the world.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._relax()
        elif self.cycle is None or self.cycle.response_complete:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_FAREWELL_SECONDS,
        limit_concurrency=_CONNECTIONS,
        backlog=_CONNECTIONS,
    )


def _run(server: _Server, listener: socket.socket, settled: threading.Event) -> None:
    try:
        server.run(sockets=[listener])
    except SystemExit:
        return  # how uvicorn says that the app did not start; it has logged the reason
    finally:
        settled.set()


def _not_here(host: str, port: int, error: OSError) -> BadValue:
    if error.errno == errno.EADDRINUSE:
        return BadValue(
            f"port {port}", f"another program listens on it at {host}", fix="Choose another, or 0 for any free one."
        )
    if error.errno == errno.EACCES:
        return BadValue(f"port {port}", "this user may not listen on it", fix="Choose one above 1023.")
    if error.errno == errno.EADDRNOTAVAIL:
        return BadValue(f"host {host!r}", "it is not an address of this machine", fix="Try 127.0.0.1 or 0.0.0.0.")
    return BadValue(f"{host}:{port}", f"it cannot be listened on ({error})")
