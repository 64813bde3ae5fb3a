"""Instance: a model server as the service sees it: where it listens, its connections, and requests in progress."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from clearsight_sagemaker.hosting.server_app import TIMEOUT_HEADER, TOKEN_HEADER
from clearsight_sagemaker.hosting.server_status import ServerStatus
from clearsight_sagemaker.hosting.worker import InvocationResult

_MOST_IDLE = 32  # connections that are kept
_MOST_BYTES = 1 << 30  # of a response
_LINE_BYTES = 1 << 16


class InstanceUnavailable(Exception):
    """Raised where a model server does not listen, or ends with a request. sent: True where it may have had it."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceRequest:
    """A request for a model server. timeout: seconds, 0 for those of the container."""

    body: bytes
    content_type: str = ""
    accept: str = ""
    timeout: float = 0.0


@dataclass(eq=False, slots=True)
class Instance:
    """A model server. `invoke` is for one event loop, `invoke_blocking` for any thread."""

    variant: str
    identity: str
    folder: Path
    _status: ServerStatus | None = None
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None  # of the connections
    _in_progress: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def in_progress(self) -> int:
        """Requests that it has."""
        return self._in_progress

    @property
    def status(self) -> ServerStatus:
        """Status, read once until the server does not answer any more."""
        status = self._status
        if status is None:
            status = ServerStatus.read(self.folder)
            self._status = status if status.status == "ready" else None
        return status

    @contextlib.contextmanager
    def reserved(self) -> Iterator[None]:
        """Count a request within the block: the server is not ended meanwhile."""
        with self._lock:
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1

    async def invoke(self, request: InstanceRequest, seconds: float) -> InvocationResult:
        """Return the result of a request. Raises TimeoutError, InstanceUnavailable."""
        status = self._listening()
        async with asyncio.timeout(seconds):
            reader, writer = await self._connection(status)
            is_whole = False
            try:
                writer.write(_head(request, status.token))
                writer.write(request.body)
                await writer.drain()
                result = await _read_result(reader)
                is_whole = True
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                self._status = None
                raise InstanceUnavailable(f"the model server has ended ({type(error).__name__})", sent=True) from None
            finally:
                if not is_whole:  # the rest of the response would be taken for that of the next request
                    writer.transport.abort()
        if len(self._idle) < _MOST_IDLE and self._loop is asyncio.get_running_loop():
            self._idle.append((reader, writer))
        else:
            writer.close()
        return result

    def invoke_blocking(self, request: InstanceRequest, seconds: float) -> InvocationResult:
        """Return the result of a request. Raises TimeoutError, InstanceUnavailable."""
        status = self._listening()
        connection = http.client.HTTPConnection("127.0.0.1", status.port, timeout=seconds)
        headers = {
            TOKEN_HEADER: status.token, "Content-Type": request.content_type, "Accept": request.accept,
            **({TIMEOUT_HEADER: f"{request.timeout:g}"} if request.timeout else {}),
        }  # fmt: skip
        try:
            with contextlib.closing(connection):
                connection.request("POST", "/invocations", request.body, headers)
                response = connection.getresponse()
                body = response.read()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            self._status = None
            sent = not isinstance(error, ConnectionRefusedError)
            raise InstanceUnavailable(f"the model server has ended ({type(error).__name__})", sent=sent) from None
        return InvocationResult(response.status, body, response.headers.get("content-type", ""))

    def close(self) -> None:
        """Close the connections; for the event loop."""
        _abort(self._idle)

    def close_from_thread(self) -> None:
        """Close the connections; for a thread that is not that of the event loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_abort, self._idle)

    def _listening(self) -> ServerStatus:
        status = self.status
        if status.status != "ready":
            raise InstanceUnavailable("the model server does not listen", sent=False)
        return status

    async def _connection(self, status: ServerStatus) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._loop is not (loop := asyncio.get_running_loop()):
            self.close_from_thread()  # connections belong to the loop that has opened them
            self._idle, self._loop = [], loop
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing() or reader.exception()):
                return reader, writer
            writer.transport.abort()
        try:
            return await asyncio.open_connection("127.0.0.1", status.port, limit=_LINE_BYTES)
        except OSError:
            self._status = None
            raise InstanceUnavailable("the model server does not listen", sent=False) from None


def _abort(connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    while connections:
        _, writer = connections.pop()
        writer.transport.abort()


def _head(request: InstanceRequest, token: str) -> bytes:
    lines = [
        "POST /invocations HTTP/1.1",
        "Host: 127.0.0.1",
        f"{TOKEN_HEADER}: {token}",
        f"Content-Length: {len(request.body)}",
        *([f"Content-Type: {request.content_type}"] if request.content_type else []),
        *([f"Accept: {request.accept}"] if request.accept else []),
        *([f"{TIMEOUT_HEADER}: {request.timeout:g}"] if request.timeout else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _read_result(reader: asyncio.StreamReader) -> InvocationResult:
    """Return a response of a model server, whose responses all have a Content-Length.

    Raises EOFError, ValueError, LimitOverrunError for what is no such response.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers["content-length"]) if "content-length" in headers else -1
    if not 0 <= length <= _MOST_BYTES:
        raise ValueError(f"a response of {length} bytes")
    body = await reader.readexactly(length) if length else b""
    return InvocationResult(int(first.partition(" ")[2][:3]), body, headers.get("content-type", ""))
