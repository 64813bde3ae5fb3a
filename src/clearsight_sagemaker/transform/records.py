"""Records: the parts of an object that become requests, and requests of one or several records.

Source of the RecordIO format: dmlc-core, recordio.h (a magic number, a length, the data, filled up to 4 bytes).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, cast

from clearsight.core.errors import BadValue

MEGABYTE = 1 << 20
SplitType = Literal["None", "Line", "RecordIO"]
_HEAD = struct.Struct("<II")
_MAGIC = 0xCED7230A
_LENGTH_BITS = 29  # of the second number; the others say which part of a record in several parts it is


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one request, without what separates them. body: of the request."""

    records: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSplitter:
    """Splits objects into requests. many: True for as many records as fit into a request.

    most: bytes of a request.
    """

    split: SplitType
    many: bool
    most: int
    is_gzip: bool = False

    def batches(self, file: IO[bytes]) -> Iterator[RecordBatch]:
        """Yield the requests of an object. Memory: one request. Raises BadValue for a record that cannot be sent."""
        content = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if self.is_gzip else file
        try:
            if self.split == "None":
                body = content.read(self.most + 1)
                self._check(len(body))
                yield RecordBatch((body,), body)
            else:
                yield from self._joined(self._lines(content) if self.split == "Line" else self._recordio(content))
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise BadValue("the object", "it is no whole gzip file") from None

    def _joined(self, records: Iterator[tuple[bytes, bytes]]) -> Iterator[RecordBatch]:
        """Yield batches of records. records: data, and data as they stand in the object."""
        separator = b"\n" if self.split == "Line" else b""
        group: list[tuple[bytes, bytes]] = []
        size = 0
        for record, framed in records:
            if group and (not self.many or size + len(framed) + len(separator) > self.most):
                yield self._batch(group, separator)
                group, size = [], 0
            group.append((record, framed))
            size += len(framed) + len(separator)
        if group:
            yield self._batch(group, separator)

    def _batch(self, group: list[tuple[bytes, bytes]], separator: bytes) -> RecordBatch:
        # A single record loses its frame; several ones keep theirs, by which the model finds them.
        body = separator.join(framed for _, framed in group) if self.many else group[0][0]
        return RecordBatch(tuple(record for record, _ in group), body)

    def _lines(self, content: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
        while line := content.readline(self.most + 3):
            record = line.removesuffix(b"\n").removesuffix(b"\r")
            self._check(len(record))
            if record:
                yield record, record

    def _recordio(self, content: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
        while head := content.read(_HEAD.size):
            magic, mark = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
            if magic != _MAGIC:
                raise BadValue("the object", "it is not in the format RecordIO")
            if mark >> _LENGTH_BITS:
                raise BadValue("the object", "it has RecordIO records in several parts, which are not supported")
            length = mark & ((1 << _LENGTH_BITS) - 1)
            padding = -length % 4
            self._check(_HEAD.size + length + padding if self.many else length)
            data = content.read(length + padding)
            if len(data) < length + padding:
                raise BadValue("the object", "its last RecordIO record is cut off")
            yield data[:length], head + data

    def _check(self, size: int) -> None:
        if size > self.most:
            problem = f"it has more than MaxPayloadInMB ({self.most // MEGABYTE} MB)"
            raise BadValue("a record", problem, fix="Set a larger MaxPayloadInMB, at most 100.")
