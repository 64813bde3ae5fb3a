"""Bodies are taken in only as far as the limits allow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from clearsight.core.errors import ClearsightError, EmptyInput, TooLarge, UnsupportedType
from clearsight.serving.error_responses import Busy, SlowBody
from clearsight.serving.limits import Limits
from clearsight.serving.request_body import RequestBodyReader

LIMITS = Limits(body_bytes=10, held_bytes=15, body_seconds=0.05)


class Sender:
    """A client that sends `chunks` and then, unless it says that more follows, ends the body."""

    def __init__(self, *chunks: bytes, headers: Iterable[tuple[str, str]] = (), then: str = "end") -> None:
        self.messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if then == "end":
            self.messages.append({"type": "http.request", "body": b"", "more_body": False})
        if then == "gone":
            self.messages.append({"type": "http.disconnect"})
        self.headers = [(name.encode(), value.encode()) for name, value in headers]

    async def receive(self) -> Message:
        if not self.messages:
            await asyncio.Event().wait()  # a client that says nothing more
        return self.messages.pop(0)

    @property
    def request(self) -> Request:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": self.headers}
        return Request(scope, self.receive)


async def take(intake: RequestBodyReader, sender: Sender) -> bytes:
    async with intake.body(sender.request) as body:
        return body


def refused(sender: Sender, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        asyncio.run(take(RequestBodyReader(LIMITS), sender))


def test_a_body_within_the_limit_is_whole() -> None:
    assert asyncio.run(take(RequestBodyReader(LIMITS), Sender(b"01234", b"56789"))) == b"0123456789"


def test_an_empty_body_is_refused() -> None:
    refused(Sender(), EmptyInput, "it is empty")


def test_too_large_by_its_own_word_is_refused_unread() -> None:
    sender = Sender(b"x" * 11, headers=[("content-length", "11"), ("expect", "100-continue")])
    refused(sender, TooLarge, "the limit of 10 bytes")
    assert len(sender.messages) == 2


def test_too_large_while_it_arrives_is_refused_and_the_rest_is_dropped() -> None:
    sender = Sender(b"x" * 9, b"xx", b"more", b"and more")
    refused(sender, TooLarge, "the limit of 10 bytes")
    assert sender.messages == []


def test_too_large_in_the_last_piece_is_refused() -> None:
    sender = Sender(then="more")
    sender.messages = [{"type": "http.request", "body": b"x" * 11, "more_body": False}]
    refused(sender, TooLarge, "the limit of 10 bytes")


def test_an_endless_body_is_not_dropped_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.serving.request_body._LINGER_BYTES", 100)
    sender = Sender(*[b"x" * 10] * 50)
    refused(sender, TooLarge, "the limit of 10 bytes")
    assert len(sender.messages) > 30


def test_a_body_that_does_not_arrive_is_refused() -> None:
    refused(Sender(b"x", then="silence"), SlowBody, r"within 0\.05 s")


def test_a_client_that_hangs_up_is_no_error_of_its_own() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(take(RequestBodyReader(LIMITS), Sender(b"x", then="gone")))


def test_a_compressed_body_is_refused() -> None:
    refused(Sender(b"x", headers=[("content-encoding", "gzip")]), UnsupportedType, "'gzip'")


def test_all_bodies_together_are_bounded_and_given_back() -> None:
    async def story() -> None:
        intake = RequestBodyReader(LIMITS)
        async with intake.body(Sender(b"x" * 8).request):
            with pytest.raises(Busy):
                await take(intake, Sender(b"x" * 4, b"x" * 4))
            assert len(await take(intake, Sender(b"x" * 7))) == 7
        async with intake.body(Sender(b"x" * 8).request), intake.body(Sender(b"x" * 7).request):
            pass

    asyncio.run(story())
