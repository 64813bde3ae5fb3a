"""Limits of the endpoint, and request bodies read only as far as the limits allow."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from clearsight.core.errors import BadValue, ClearsightError, EmptyInput, TooLarge, UnsupportedType
from clearsight.serving.error_responses import SlowBody, busy

_LINGER_BYTES = 64 << 20  # of a refused body, read and dropped
_GZIP = ("gzip", "x-gzip")
_PIECE = 1 << 20  # bytes that are unpacked at a time
_LINGER_SECONDS = 2.0  # a client that sends slower sees its connection reset


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits on what clients may ask of the endpoint; every value must be positive (BadValue).

    The pixels of a single image are limited where it is decoded.
    """

    body_bytes: int = 20 << 20  # of one request
    held_bytes: int = 256 << 20  # of all requests that are being read or answered
    body_seconds: float = 30.0  # from the head of a request to the last byte of its body
    images: int = 64  # in one request
    pixels: int = 100_000_000  # of all images of one request, by their headers
    decode_bytes: int = 1536 << 20  # of memory for decoding, of all requests together
    answer_seconds: float = 30.0  # from the last byte of a body to its response

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise BadValue(f"limit {name} {getattr(self, name)!r}", "it must be above 0")
        if self.held_bytes < self.body_bytes:
            raise BadValue(f"limit held_bytes {self.held_bytes}", f"it must be at least body_bytes ({self.body_bytes})")


class RequestBodyReader:
    """Reads bodies for one event loop, and counts the bytes of them that are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the whole body, counted as held until the block ends.

        Raises EmptyInput, TooLarge (by the declared length, or while it arrives), SlowBody, Busy when all requests
        together hold too much, UnsupportedType for a compression other than gzip, BadValue for damaged gzip,
        ClientDisconnect. The limits are those of the body without compression.
        """
        body = await self._receive(request)
        try:
            if not body:
                raise EmptyInput("body", "it is empty", fix="Send the bytes of one image.")
            yield body
        finally:
            self._held -= len(body)

    async def _receive(self, request: Request) -> bytes:
        async with contextlib.aclosing(request.stream()) as stream:
            try:
                self._check_head(request)
                async with asyncio.timeout(self._limits.body_seconds):
                    return await self._read(_unzipped(stream) if _is_gzip(request) else stream)
            except TimeoutError:
                raise SlowBody("body", f"it did not arrive within {self._limits.body_seconds:g} s") from None
            except ClearsightError:
                # A client that sent Expect: 100-continue has not sent its body yet.
                if "expect" not in request.headers:
                    await _linger(stream)
                raise

    def _check_head(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() not in ("identity", *_GZIP):
            problem = "the endpoint does not decompress it"
            raise UnsupportedType(f"Content-Encoding {encoding[:40]!r}", problem, allowed=("identity", "gzip"))
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.body_bytes:
            raise self._too_large()

    async def _read(self, stream: AsyncIterator[bytes]) -> bytes:
        received = bytearray()
        try:
            async for chunk in stream:
                if len(received) + len(chunk) > self._limits.body_bytes:
                    raise self._too_large()
                if self._held + len(chunk) > self._limits.held_bytes:
                    raise busy()  # in the middle of a body: headers may declare no length, or less
                received += chunk
                self._held += len(chunk)
        except BaseException:  # a cancelled request too
            self._held -= len(received)
            raise
        return bytes(received)

    def _too_large(self) -> TooLarge:
        most = self._limits.body_bytes
        return TooLarge("body", f"it is larger than the limit of {most} bytes ({most / (1 << 20):.3g} MiB)")


def _is_gzip(request: Request) -> bool:
    return request.headers.get("content-encoding", "").lower() in _GZIP


async def _unzipped(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces of a gzip body, each at most a megabyte: a few kilobytes may unpack to gigabytes."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        async for chunk in stream:
            rest = chunk
            while rest:
                yield unzip.decompress(rest, _PIECE)
                rest = unzip.unconsumed_tail
    except zlib.error:
        raise BadValue("body", "it is no gzip, although Content-Encoding says so") from None
    if not unzip.eof:
        raise BadValue("body", "its gzip is cut short")


async def _linger(stream: AsyncIterator[bytes]) -> None:
    """Read and drop the rest of a refused body, up to a limit.

    A client that writes its whole body before it reads would otherwise see a reset connection instead of the response.
    """
    left = _LINGER_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in stream:
                left -= len(chunk)
                if left < 0:
                    return
