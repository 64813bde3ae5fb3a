"""HTTP server of the app: listening socket, event loop, orderly shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.stop import END_SIGNALS, discard_lost_terminal, handling
from clearsight.serving.acceptor import Acceptor, connection_limit
from clearsight.serving.pool.connections import OneWrite, SharedConnections

_HEAD_SECONDS = 10.0  # for the head of a request to arrive, and for the rest of a body that was refused early
_DRAIN_POLL = 0.02
_DRAIN_SECONDS = 1.0  # that connections stay open after a signal, so that a request on its way finds somebody
_PARENT_SECONDS = 3.0  # that a worker goes on after its pool was killed: the next one takes about as long to begin
_IDLE_SECONDS = 5  # between requests on one connection
_SHUTDOWN_SECONDS = 10  # for requests in progress when the server is told to stop
_CONNECTIONS = 512  # open at a time, and waiting to be accepted
_STARTUP_FAILURE = 3  # exit status of uvicorn for an app that does not start
_SLOW_SECONDS = 5.0  # that a body may take before its connection may be closed for another one
_LOG_SECONDS = 10.0  # between lines about requests that are no HTTP


def serve(
    app: ASGIApp, host: str = "127.0.0.1", port: int = 0, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve `app` until SIGINT, SIGTERM or SIGHUP, then finish the requests in progress and return.

    For the main thread, which alone receives signals.

    port: 0 chooses a free one.  on_ready: called with the URL once connections are accepted.
    Raises BadValue for an address that cannot be listened on.
    """
    with listening(host, port) as listener:
        server = _Server(_config(app), lambda: on_ready(url(listener)))
        others = [number for number in END_SIGNALS if number not in (signal.SIGINT, signal.SIGTERM)]
        with handling(others, server.handle_exit):  # uvicorn handles those two itself
            server.run(sockets=[listener])


def tls_context(files: Sequence[str]) -> ssl.SSLContext:
    """Return the TLS settings of a server with the files of its certificate (or chain) and its key, both PEM.

    Raises NotFound for a missing file, BadValue for files that are no such pair.
    """
    certificate, key = files
    for path in files:
        if not Path(path).is_file():
            raise NotFound(path, "there is no such file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        fix = "Pass a certificate and its key without a password, as PEM files."
        raise BadValue(f"TLS files {certificate} and {key}", f"they are no pair ({reason})", fix=fix) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def serve_socket(
    app: ASGIApp,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    parent: int,
    tls: ssl.SSLContext | None = None,
    connections: SharedConnections | None = None,
) -> None:
    """Serve `app` on a socket that other processes listen on too, as `serve` does.

    on_stop: called once it accepts no more connections.
    parent: file descriptor of a pipe; once it is at its end, the process that has started this one is gone, and this
    one ends a few seconds later.
    connections: that the pool answers where this process ends; None to share none.
    """
    _Server(_config(app), on_ready, on_stop, parent=parent, tls=tls, connections=connections).run(sockets=[listener])


@contextlib.contextmanager
def background(app: ASGIApp, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `app` from another thread for the duration of the block; yield the URL.

    Raises BadValue for an address that cannot be listened on, RuntimeError when the app does not start.
    """

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except SystemExit:
            return  # raised by uvicorn when the app did not start; it has logged the reason
        finally:
            started.set()  # also on failure: the waiting thread must not hang

    with listening(host, port) as listener:
        started = threading.Event()
        server = _Server(_config(app), started.set)
        thread = threading.Thread(target=run, name="clearsight-server", daemon=True)
        thread.start()
        try:
            started.wait()
            if not server.started:
                raise RuntimeError("the app did not start; the log has the reason")
            yield url(listener)
        finally:
            server.should_exit = True
            thread.join(_SHUTDOWN_SECONDS + 5)  # requests in progress first, then the app's own end


@contextlib.contextmanager
def listening(host: str, port: int, *, shared: bool = False) -> Iterator[socket.socket]:
    """Yield a listening socket on `host` and `port`; raises BadValue for a port in use or an address elsewhere.

    shared: another process of this user may listen there at the same time: the workers of a pool that was killed do so
    until they have ended.
    """
    if not 0 <= port <= 65535:
        raise BadValue(f"port {port}", "a port must be from 0 to 65535", fix="Choose 0 for any free one.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise BadValue(f"host {host!r}", "it is no address of this machine", fix="Try 127.0.0.1.") from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        # Without it a restart would have to wait about a minute until old connections of the port are gone.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind(address)
            # Only listening claims the port: two sockets with SO_REUSEADDR may both be bound to it.
            listener.listen(_CONNECTIONS)
        except OSError as error:
            raise _bind_error(host, port, error) from None
        yield listener


def url(listener: socket.socket) -> str:
    """Return the address that a client on this machine opens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server with a callback when it listens; it returns after a signal instead of raising it again.

    parent: as of `serve_socket`; -1 for none.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_started: Callable[[], None],
        on_stop: Callable[[], None] = lambda: None,
        parent: int = -1,
        tls: ssl.SSLContext | None = None,
        connections: SharedConnections | None = None,
    ) -> None:
        super().__init__(config)
        self._on_started, self._on_stop, self._parent, self._tls = on_started, on_stop, parent, tls
        self._connections = connections
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(_STARTUP_FAILURE)
        state = self.server_state

        def protocol_of(connection: socket.socket) -> asyncio.Protocol:
            protocol = _Protocol(config=self.config, server_state=state, app_state=self.lifespan.state)
            if self._connections is not None:
                protocol.share(self._connections, connection)
            return protocol

        self.servers = []  # an Acceptor in their place
        limit = connection_limit(_CONNECTIONS)
        self._acceptors = [
            Acceptor(
                listener,
                protocol_of,
                open_connections=lambda: sum(not one.transport.is_closing() for one in state.connections),
                make_room=lambda: close_idlest(state.connections),
                connections=limit,
                tls=self._tls,
            )
            for listener in sockets or ()
        ]
        for acceptor in self._acceptors:
            acceptor.start()
        if self._parent >= 0:
            asyncio.get_running_loop().add_reader(self._parent, self._parent_ended)
        self.started = True
        self._on_started()

    def _parent_ended(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._parent)
        loop.call_later(_PARENT_SECONDS, self.handle_exit, signal.SIGTERM, None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            acceptor.stop()
        self._on_stop()
        # Clients send their next request on a connection that is open: they are told that it is the last one. Closing
        # at once would lose a request that is on its way.
        self.server_state.default_headers.append((b"connection", b"close"))
        end = time.monotonic() + _DRAIN_SECONDS
        while self.server_state.connections and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(_DRAIN_POLL)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        discard_lost_terminal(sig)
        # A second Ctrl-C, or SIGTERM, waits for nothing.
        self.force_exit = self.should_exit and sig in (signal.SIGINT, signal.SIGTERM)
        self.should_exit = True


class _Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for the request head, and refusals as JSON.

    uvicorn itself sets no limit on a connection that sends nothing, or its head byte by byte.
    """

    _deadline: asyncio.TimerHandle | None = None
    shared: SharedConnections | None = None
    _slot = -1
    _received = 0  # bytes
    idle_since = 0.0  # when the last response was complete, or the connection was made

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.logger = _HTTP_LOG

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.shared is not None:
            self.transport = OneWrite(self.transport)  # type: ignore[assignment]
        self.idle_since = time.monotonic()
        self._start_deadline()

    def share(self, connections: SharedConnections, connection: socket.socket) -> None:
        """Share the connection with the pool."""
        self.shared, self._slot = connections, connections.opened(connection)

    @property
    def patience(self) -> tuple[int, float] | None:
        """Return how soon the connection may be closed for another one, soonest first; None while it is answered.

        Idle ones come first, then those whose body has been arriving for some seconds.
        """
        if self.transport.is_closing():
            return None
        if self.cycle is None or self.cycle.response_complete:
            return (0, self.idle_since)
        slow = self.cycle.more_body and time.monotonic() - self.idle_since > _SLOW_SECONDS
        return (1, self.idle_since) if slow else None

    def on_response_complete(self) -> None:
        self.idle_since = time.monotonic()
        if isinstance(self.transport, OneWrite):
            self.transport.flush()
        super().on_response_complete()
        if self.shared is not None and self.cycle.response_complete:  # else the next request has begun already
            self.shared.answered(self._slot, self._received)

    def send_400_response(self, msg: str) -> None:
        body = json.dumps({"error": f"{msg.removesuffix('.')}: the request could not be parsed."}).encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self._received += len(data)
        super().data_received(data)
        if self.cycle is not before:
            self._cancel_deadline()
        elif self.cycle is None or self.cycle.response_complete:
            self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        if self.shared is not None:
            self.shared.closed(self._slot, self.transport.get_extra_info("socket"))
        super().connection_lost(exc)

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def close_idlest(connections: Collection[Any]) -> bool:
    """Close the connection that can best be spared; return False where all of them are being answered."""
    spare = [connection for connection in connections if connection.patience is not None]
    if not spare:
        return False
    min(spare, key=lambda connection: connection.patience).transport.abort()
    return True


class _Seldom(logging.Filter):
    """Lets a line through once in some seconds: whoever sends garbage must not fill the log."""

    _quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._quiet_until:
            return False
        self._quiet_until = record.created + _LOG_SECONDS
        return True


_HTTP_LOG = logging.getLogger("clearsight.serving.http")
_HTTP_LOG.addFilter(_Seldom())


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Protocol,
        ws="none",  # no route uses it: fewer ways in
        lifespan="on",
        log_config=None,  # the program that serves decides where logs go
        access_log=False,  # AccessLog writes it, without queries
        server_header=False,
        proxy_headers=False,  # anybody can send X-Forwarded-For
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        # No limit_concurrency: uvicorn would count idle connections, and refuse in plain text.
        backlog=_CONNECTIONS,
    )


def _bind_error(host: str, port: int, error: OSError) -> BadValue:
    if error.errno == errno.EADDRINUSE:
        problem = f"another program listens on it at {host}"
        return BadValue(f"port {port}", problem, fix="Choose another, or 0 for any free one.")
    if error.errno == errno.EACCES:
        return BadValue(f"port {port}", "this user may not listen on it", fix="Choose one above 1023.")
    if error.errno == errno.EADDRNOTAVAIL:
        return BadValue(f"host {host!r}", "it is not an address of this machine", fix="Try 127.0.0.1 or 0.0.0.0.")
    return BadValue(f"{host}:{port}", f"it cannot be listened on ({error})")
