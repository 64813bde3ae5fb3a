"""Requests to a model server: connections that are kept, servers that send nonsense, end or do not listen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from clearsight.core.machine import process_identity
from clearsight_sagemaker.endpoints.instance import Instance, InstanceRequest, InstanceUnavailable
from clearsight_sagemaker.hosting.server_status import ServerStatus

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = InstanceRequest(body=b"photo", content_type="image/jpeg", accept="application/json")


def responding(*responses: bytes) -> Handler:
    """Return a server that sends one of the responses to each request of a connection, and closes it then."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-type: image/jpeg" in head.lower()
            assert await reader.readexactly(5) == b"photo"
            writer.write(response)
            await writer.drain()
        writer.close()

    return handle


async def sent(folder: Path, handler: Handler, count: int) -> list[object]:
    """Send requests to a server; return results and errors."""
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        status = ServerStatus(status="ready", port=port, token="t", process=process_identity(os.getpid()))
        status.write(folder)
        instance = Instance("A", "i-1", folder)
        results: list[object] = []
        for _ in range(count):
            try:
                results.append((await instance.invoke(REQUEST, 5)).body)
            except (InstanceUnavailable, TimeoutError) as error:
                results.append(type(error))
            await asyncio.sleep(0.01)  # in which a connection is seen to be closed
        instance.close()
        await asyncio.sleep(0)
    return results


def response(body: bytes, head: str = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n") -> bytes:
    return head.format(len(body)).encode() + body


def test_connections_are_kept_and_replaced(tmp_path: Path) -> None:
    results = asyncio.run(sent(tmp_path, responding(response(b"1"), response(b"2")), 4))
    assert results == [b"1", b"2", b"1", b"2"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        response(b"1", "HTTP/1.1 200 OK\r\nContent-Length: -{}\r\n\r\n"),
        response(b"1", "HTTP/1.1 200 OK\r\nContent-Length: x{}\r\n\r\n"),
        response(b"1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        response(b"1", "HTTP/1.1\r\nContent-Length: {}\r\n\r\n"),
        b"x" * 200_000,
    ],
    ids=["nothing", "cut", "negative", "no number", "no length", "no status", "endless head"],
)
def test_what_is_no_response_is_an_error(tmp_path: Path, nonsense: bytes) -> None:
    assert asyncio.run(sent(tmp_path, responding(nonsense), 1)) == [InstanceUnavailable]


def test_a_server_that_does_not_listen_was_sent_nothing(tmp_path: Path) -> None:
    ServerStatus(status="ready", port=1, token="t", process=process_identity(os.getpid())).write(tmp_path)
    with pytest.raises(InstanceUnavailable) as error:
        asyncio.run(Instance("A", "i-1", tmp_path).invoke(REQUEST, 5))
    assert not error.value.sent
