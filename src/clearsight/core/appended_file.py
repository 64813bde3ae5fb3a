"""AppendedFile: a file that grows by whole records and can be continued after the death of its writer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from clearsight.core.files import disk_full_as_error


def is_line(record: bytes) -> bool:
    """Return True: any bytes up to a newline are a record."""
    return True


def is_csv_row(record: bytes) -> bool:
    """Return True for a whole row: quotes are doubled within a cell, so an odd number means that a cell goes on."""
    return record.count(b'"') % 2 == 0


class AppendedFile:
    """A file of records, each of one line or more. Read `records` to the end before the first `append`.

    is_whole: tells for lines with their newlines whether they are a whole record, or the first part of one.
    """

    def __init__(self, path: Path, is_whole: Callable[[bytes], bool] = is_line) -> None:
        self.path, self._is_whole = path, is_whole
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._end = 0

    def records(self) -> Iterator[bytes]:
        """Yield the whole records with their newlines, then cut off what follows the last of them.

        A kill leaves the first part of a record, a loss of power perhaps a block of zero bytes.
        """
        self._end, record = 0, b""
        with open(self._handle, "rb", closefd=False) as stream:
            stream.seek(0)
            for line in stream:
                if not line.endswith(b"\n") or b"\0" in line:
                    break
                record += line
                if self._is_whole(record):
                    self._end += len(record)
                    yield record
                    record = b""
        os.ftruncate(self._handle, self._end)

    def append(self, data: bytes) -> None:
        """Write whole records; raises DiskFull, and then leaves the file as it was before."""
        with disk_full_as_error(self.path):
            try:
                self._write(data)
            except OSError:
                os.ftruncate(self._handle, self._end)
                raise
        self._end += len(data)

    def _write(self, data: bytes) -> None:
        left, offset = memoryview(data), self._end
        while left:  # a disk that is nearly full takes a part
            count = os.pwrite(self._handle, left, offset)
            left, offset = left[count:], offset + count

    def sync(self) -> None:
        """Return once the disk has what was written."""
        with disk_full_as_error(self.path):
            os.fsync(self._handle)

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)
