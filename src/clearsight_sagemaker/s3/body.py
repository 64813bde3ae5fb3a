"""Bodies of uploads: streamed into a file, out of aws-chunked pieces where a client sends them, and checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import IO, Protocol

from starlette.datastructures import Headers

from clearsight_sagemaker.protocols.signature import ChunkSignatures
from clearsight_sagemaker.s3.errors import S3Error

ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
_MOST_LINE = 8192


class Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class Crc32:
    """CRC-32 as S3 has it: four bytes, the largest first."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


# Checksums of other algorithms are stored as the client sends them.
_DIGESTS: Mapping[str, Callable[[], Digest]] = {
    "crc32": Crc32,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


async def write_body(
    stream: AsyncIterator[bytes], headers: Headers, file: IO[bytes], signatures: ChunkSignatures | None = None
) -> tuple[str, dict[str, str]]:
    """Write the body of a request into a file; return its etag (MD5) and its checksums by algorithm.

    signatures: of the chunks, None where they need not be signed.
    Raises S3Error for a body that is cut short or is not what its headers say.
    """
    trailers: dict[str, str] = {}
    is_chunked = headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    pieces = _unchunked(stream, trailers, signatures) if is_chunked else stream
    declared_names = [name for name in ALGORITHMS if f"x-amz-checksum-{name}" in headers]
    declared_names += [
        name for name in ALGORITHMS if f"x-amz-checksum-{name}" in headers.get("x-amz-trailer", "").lower()
    ]
    named = headers.get("x-amz-sdk-checksum-algorithm", "").lower()
    digests = {name: _DIGESTS[name]() for name in {*declared_names, named} if name in _DIGESTS}
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    async for piece in pieces:
        file.write(piece)
        md5.update(piece)
        size += len(piece)
        if not is_chunked:
            sha256.update(piece)
        for digest in digests.values():
            digest.update(piece)
    _check_size(headers, size, is_chunked=is_chunked)
    _check_md5(headers, md5.digest())
    declared = headers.get("x-amz-content-sha256", "")
    if len(declared) == 64 and declared != sha256.hexdigest():
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise S3Error("XAmzContentChecksumMismatch", text)
    sent = {
        name: headers.get(f"x-amz-checksum-{name}") or trailers.get(f"x-amz-checksum-{name}", "")
        for name in declared_names
    }
    computed = {name: base64.b64encode(digest.digest()).decode() for name, digest in digests.items()}
    for name, value in sent.items():
        if name in computed and value and value != computed[name]:
            raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
    return md5.hexdigest(), {**{name: value for name, value in sent.items() if value}, **computed}


def _check_size(headers: Headers, size: int, *, is_chunked: bool) -> None:
    declared = headers.get("x-amz-decoded-content-length" if is_chunked else "content-length", "")
    if declared.isdecimal() and int(declared) != size:
        raise S3Error(
            "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length header"
        )


def _check_md5(headers: Headers, digest: bytes) -> None:
    declared = headers.get("content-md5")
    if declared is None:
        return
    try:
        expected = base64.b64decode(declared, validate=True)
    except binascii.Error:
        expected = b""
    if len(expected) != 16:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.")
    if expected != digest:
        raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")


async def _unchunked(
    stream: AsyncIterator[bytes], trailers: dict[str, str], signatures: ChunkSignatures | None
) -> AsyncIterator[bytes]:
    """Yield the data of an aws-chunked body, and put what follows it into `trailers`.

    A chunk is "SIZE[;chunk-signature=...]" in hexadecimal, CRLF, so many bytes, CRLF; the last one has no bytes and is
    followed by lines "name:value".
    """
    waiting, left, chunk = bytearray(), 0, _Chunk(signatures)
    in_data = is_last = False
    async for piece in stream:
        waiting += piece
        while True:
            if in_data:
                data = bytes(waiting[:left])
                del waiting[: len(data)]
                left -= len(data)
                if data:
                    chunk.update(data)
                    yield data
                if left or len(waiting) < 2:
                    break
                del waiting[:2]
                in_data = False
                chunk.finish()
                continue
            line, found, rest = bytes(waiting).partition(b"\r\n")
            if not found:
                if len(waiting) > _MOST_LINE:
                    raise S3Error("IncompleteBody", "The request body has a chunk without a size.")
                break
            waiting = bytearray(rest)
            if is_last:
                name, _, value = line.decode("latin-1").partition(":")
                trailers[name.strip().lower()] = value.strip()
                continue
            try:
                left = int(line.partition(b";")[0] or b"0", 16)
            except ValueError:
                raise S3Error("IncompleteBody", "The request body has a chunk without a size.") from None
            is_last, in_data = left == 0, left > 0
            chunk.begin(line)
            if is_last:
                chunk.finish()
    if not is_last:
        raise S3Error("IncompleteBody", "The request body terminated unexpectedly")
    if signatures is not None and signatures.has_trailer and not signatures.accepts_trailer(trailers):
        raise _wrong_chunk()


class _Chunk:
    """Chunk that is being read, whose signature is checked where there are any."""

    def __init__(self, signatures: ChunkSignatures | None) -> None:
        self._signatures, self._signature, self._sha256 = signatures, "", hashlib.sha256()

    def begin(self, line: bytes) -> None:
        """Take the line before the data."""
        self._signature = line.partition(b"chunk-signature=")[2].decode("latin-1")
        self._sha256 = hashlib.sha256()

    def update(self, data: bytes) -> None:
        if self._signatures is not None:
            self._sha256.update(data)

    def finish(self) -> None:
        """Raise S3Error unless the data are signed."""
        if self._signatures is not None and not self._signatures.accepts(self._signature, self._sha256.hexdigest()):
            raise _wrong_chunk()


def _wrong_chunk() -> S3Error:
    text = "The signature of a chunk that we calculated does not match the one you provided. Check your key."
    return S3Error("SignatureDoesNotMatch", text)
