"""Connections that a worker shares with its pool: who is answered when the worker is killed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clearsight.serving.pool.connections import CopiedConnections, SharedConnections, is_supported

pytestmark = pytest.mark.skipif(not is_supported(), reason="only Linux counts the bytes of a connection")
REQUEST = b"POST /invocations HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"


class Worker:
    """The worker's side of one connection, and the client that has opened it."""

    def __init__(self, shared: SharedConnections, listener: socket.socket) -> None:
        self._shared = shared
        self.client = socket.create_connection(listener.getsockname())
        self._connection, _ = listener.accept()
        self._slot = shared.opened(self._connection)

    def answer(self, received: int) -> None:
        """Answer every request in the first bytes of the connection."""
        assert len(self._connection.recv(received, socket.MSG_WAITALL)) == received
        self._shared.answered(self._slot, received)

    def take(self) -> None:
        """Take a request out of the socket and be killed before it is answered."""
        assert self._connection.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST

    def end(self) -> None:
        """Close the connection in order."""
        self._shared.closed(self._slot, self._connection)

    def die(self) -> None:
        """What the kernel does with the descriptor of a killed process."""
        self._connection.close()


@asynccontextmanager
async def pool_and_worker(folder: Path) -> AsyncIterator[tuple[CopiedConnections, SharedConnections, socket.socket]]:
    pool = CopiedConnections(folder / "connections" / "states")
    with pool.worker_end, socket.create_server(("127.0.0.1", 0)) as listener:
        yield pool, SharedConnections(pool.worker_end, folder / "connections" / "states"), listener


async def answer_of(client: socket.socket) -> bytes:
    """Read until the pool ends the connection."""
    client.setblocking(False)
    received = b""
    async with asyncio.timeout(30):
        while data := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
            received += data
    client.close()
    return received


async def request_in_progress(folder: Path, is_taken: bool) -> None:
    async with pool_and_worker(folder) as (pool, shared, listener):
        worker = Worker(shared, listener)
        worker.client.sendall(2 * REQUEST if is_taken else REQUEST)
        if is_taken:
            worker.answer(len(REQUEST))
            worker.take()
        worker.die()
        tasks = pool.take_leave()
        assert (await answer_of(worker.client)).startswith(b"HTTP/1.1 503 ")
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("is_taken", [False, True], ids=["still-in-the-socket", "taken-by-the-worker"])
def test_a_requestrequest_in_progress_is_answered_with_503(tmp_path: Path, is_taken: bool) -> None:
    asyncio.run(request_in_progress(tmp_path, is_taken))


def test_a_request_that_comes_on_an_idle_connection_of_a_killed_worker_is_answered_with_503(tmp_path: Path) -> None:
    async def case() -> None:
        async with pool_and_worker(tmp_path) as (pool, shared, listener):
            worker = Worker(shared, listener)
            worker.client.sendall(REQUEST)
            worker.answer(len(REQUEST))
            worker.die()
            tasks = pool.take_leave()
            worker.client.sendall(REQUEST)
            response = await answer_of(worker.client)
            assert response.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1\r\n" in response
            await asyncio.gather(*tasks)

    asyncio.run(case())


def test_an_idle_connection_of_a_killed_worker_is_closed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearsight.serving.pool.connections._LATE_SECONDS", 0.05)

    async def case() -> None:
        async with pool_and_worker(tmp_path) as (pool, shared, listener):
            worker = Worker(shared, listener)
            worker.die()
            tasks = pool.take_leave()
            assert await answer_of(worker.client) == b""
            await asyncio.gather(*tasks)

    asyncio.run(case())


def test_a_connection_that_the_worker_has_closed_is_closed_for_the_client(tmp_path: Path) -> None:
    async def case() -> None:
        async with pool_and_worker(tmp_path) as (pool, shared, listener):
            worker = Worker(shared, listener)
            worker.end()
            worker.die()
            assert await answer_of(worker.client) == b""
            assert pool.take_leave() == []

    asyncio.run(case())
