"""Intake: request bodies, taken in only as far as the limits allow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from clearsight.core.errors import ClearsightError, EmptyInput, TooLarge, UnsupportedType
from clearsight.serving.error_responses import SlowBody, busy
from clearsight.serving.limits import Limits

_LINGER_BYTES = 64 << 20
_LINGER_SECONDS = 2.0


class RequestBodyReader:
    """Reads bodies for one event loop, and knows how many bytes of them are held at the moment."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the block ends.

        Raises EmptyInput, TooLarge (by the declared length, or while it arrives), SlowBody, Busy when all requests
        together hold too much, UnsupportedType for a compressed body, ClientDisconnect.
        """
        body = await self._take(request)
        try:
            if not body:
                raise EmptyInput("body", "it is empty", fix="Send the bytes of one image.")
            yield body
        finally:
            self._held -= len(body)

    async def _take(self, request: Request) -> bytes:
        async with contextlib.aclosing(request.stream()) as stream:
            try:
                self._check_head(request)
                async with asyncio.timeout(self._limits.body_seconds):
                    return await self._read(stream)
            except TimeoutError:
                raise SlowBody("body", f"it did not arrive within {self._limits.body_seconds:g} s") from None
            except ClearsightError:
                # One that asked first (Expect: 100-continue) has sent nothing.
                if "expect" not in request.headers:
                    await _linger(stream)
                raise

    def _check_head(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise UnsupportedType(f"Content-Encoding {encoding[:40]!r}", "the endpoint does not unpack bodies")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.body_bytes:
            raise self._too_large()

    async def _read(self, stream: AsyncIterator[bytes]) -> bytes:
        taken = bytearray()
        try:
            async for chunk in stream:
                if len(taken) + len(chunk) > self._limits.body_bytes:
                    raise self._too_large()
                if self._held + len(chunk) > self._limits.held_bytes:
                    raise busy()
                taken += chunk
                self._held += len(chunk)
        except BaseException:
            self._held -= len(taken)
            raise
        return bytes(taken)

    def _too_large(self) -> TooLarge:
        most = self._limits.body_bytes
        return TooLarge("body", f"it is larger than the limit of {most} bytes ({most / (1 << 20):.3g} MiB)")


async def _linger(stream: AsyncIterator[bytes]) -> None:
    """Read and drop what a refused client is still sending, up to a bound.

    A client that writes its whole body before it reads would otherwise meet a reset connection instead of the refusal.
    """
    left = _LINGER_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return
