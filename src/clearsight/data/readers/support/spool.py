"""Anonymous temporary file for content that has no random access where it lies; deleted with the process."""

from __future__ import annotations

import errno
import tempfile
import threading
from pathlib import Path
from typing import IO

from clearsight.core.errors import DiskFull, TooLarge

MAX_BYTES = 64 << 30  # of one file, on the disk of temporary files


class Spool:
    """Appends and reads; safe from any thread. Errors name `origin`."""

    def __init__(self, origin: Path) -> None:
        self.stream: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (its reader closes it)
        self._origin, self._lock, self._end = origin, threading.Lock(), 0

    def append(self, data: bytes) -> int:
        """Write `data` at the end and return its offset. Raises DiskFull, and TooLarge beyond 64 GiB."""
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
            if self._end > MAX_BYTES:
                problem = f"its images take more than {MAX_BYTES >> 30} GiB"
                raise TooLarge(str(self._origin), problem, fix="Unpack it first.")
            try:
                self.stream.seek(offset)
                self.stream.write(data)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # EDQUOT: the user's quota, as on shared machines
                    raise
                fix = "Unpack it where there is room and pass the folder, or pack it without compression."
                problem = f"{tempfile.gettempdir()} has no room for its images"
                raise DiskFull(str(self._origin), problem, fix=fix) from None
            return offset

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self.stream.seek(offset)
            return self.stream.read(size)
