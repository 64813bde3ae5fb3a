"""StoreLock: a lock for the threads of several processes, and locks of files that are being written."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO


class StoreLock:
    """Reentrant lock on a file. The system releases it when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._threads, self._depth = threading.RLock(), 0
        self._handle, self.close = _opened(self, path)

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._depth == 0:
            with suppress(OSError):  # a file system without locks: the threads of one process exclude each other
                fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_UN)
        self._threads.release()


def lock_file(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed; return False where another process, or nobody, can lock it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _opened(holder: object, path: Path) -> tuple[int, weakref.finalize[[int], object]]:
    """Return a descriptor of a file and the function that closes it, at the latest with the end of its holder."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    return handle, weakref.finalize(holder, os.close, handle)
