"""Request bodies are read only as far as the limits allow."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from clearsight.core.errors import BadValue, ClearsightError, EmptyInput, TooLarge, UnsupportedType
from clearsight.serving.error_responses import Busy, SlowBody
from clearsight.serving.request_body import Limits, RequestBodyReader

LIMITS = Limits(body_bytes=10, held_bytes=15, body_seconds=0.05)


class Sender:
    """A client that sends `chunks` and then acts by `ending`: "end", "gone", or anything else for silence."""

    def __init__(self, *chunks: bytes, headers: Iterable[tuple[str, str]] = (), ending: str = "end") -> None:
        self.messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if ending == "end":
            self.messages.append({"type": "http.request", "body": b"", "more_body": False})
        if ending == "gone":
            self.messages.append({"type": "http.disconnect"})
        self.headers = [(name.encode(), value.encode()) for name, value in headers]

    async def receive(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()  # a client that sends nothing more
        return self.messages.pop(0)

    @property
    def request(self) -> Request:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": self.headers}
        return Request(scope, self.receive)


async def read_body(reader: RequestBodyReader, sender: Sender) -> bytes:
    async with reader.body(sender.request) as body:
        return body


def assert_refused(sender: Sender, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        asyncio.run(read_body(RequestBodyReader(LIMITS), sender))


def test_a_body_within_the_limit_is_read_whole() -> None:
    assert asyncio.run(read_body(RequestBodyReader(LIMITS), Sender(b"01234", b"56789"))) == b"0123456789"


def test_an_empty_body_is_refused() -> None:
    assert_refused(Sender(), EmptyInput, "it is empty")


def test_a_body_declared_too_large_is_refused_unread() -> None:
    sender = Sender(b"x" * 11, headers=[("content-length", "11"), ("expect", "100-continue")])
    assert_refused(sender, TooLarge, "the limit of 10 bytes")
    assert len(sender.messages) == 2


def test_a_body_that_becomes_too_large_is_refused_and_the_rest_is_dropped() -> None:
    sender = Sender(b"x" * 9, b"xx", b"more", b"and more")
    assert_refused(sender, TooLarge, "the limit of 10 bytes")
    assert sender.messages == []


def test_a_body_too_large_in_its_last_chunk_is_refused() -> None:
    sender = Sender(ending="more")
    sender.messages = [{"type": "http.request", "body": b"x" * 11, "more_body": False}]
    assert_refused(sender, TooLarge, "the limit of 10 bytes")


def test_an_endless_body_is_not_dropped_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.serving.request_body._LINGER_BYTES", 100)
    sender = Sender(*[b"x" * 10] * 50)
    assert_refused(sender, TooLarge, "the limit of 10 bytes")
    assert len(sender.messages) > 30


def test_a_body_that_does_not_arrive_is_refused() -> None:
    assert_refused(Sender(b"x", ending="silence"), SlowBody, r"within 0\.05 s")


def test_a_disconnected_client_raises_client_disconnect() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(read_body(RequestBodyReader(LIMITS), Sender(b"x", ending="gone")))


def test_a_compressed_body_is_refused() -> None:
    assert_refused(Sender(b"x", headers=[("content-encoding", "br")]), UnsupportedType, "'br'")


def test_a_gzip_body_is_unpacked_within_the_limits() -> None:
    headers = [("content-encoding", "gzip")]
    packed = gzip.compress(b"0123456789")
    sender = Sender(packed[:7], packed[7:], headers=headers)
    assert asyncio.run(read_body(RequestBodyReader(LIMITS), sender)) == b"0123456789"
    assert_refused(Sender(gzip.compress(bytes(1 << 24)), headers=headers), TooLarge, "the limit of 10 bytes")
    assert_refused(Sender(packed[:-6], headers=headers), BadValue, "its gzip is cut short")
    assert_refused(Sender(b"no gzip", headers=headers), BadValue, "it is no gzip")


def test_the_bytes_of_all_bodies_are_limited_and_released() -> None:
    async def scenario() -> None:
        reader = RequestBodyReader(LIMITS)
        async with reader.body(Sender(b"x" * 8).request):
            with pytest.raises(Busy):
                await read_body(reader, Sender(b"x" * 4, b"x" * 4))
            assert len(await read_body(reader, Sender(b"x" * 7))) == 7
        async with reader.body(Sender(b"x" * 8).request), reader.body(Sender(b"x" * 7).request):
            pass

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["body_bytes", "held_bytes", "body_seconds", "images"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_is_positive(name: str, value: float) -> None:
    with pytest.raises(BadValue, match=name):
        Limits(**{name: value})


def test_held_bytes_must_be_at_least_body_bytes() -> None:
    with pytest.raises(BadValue, match="at least body_bytes"):
        Limits(body_bytes=10, held_bytes=9)
