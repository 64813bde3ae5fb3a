"""StoreLock: a lock for the threads of several processes. SharedUse: which process may tidy up at its start."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType


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


class SharedUse:
    """Mark on a folder that this process uses it, as long as the process lives.

    first: True where no other process used the folder when this one began.
    """

    def __init__(self, path: Path) -> None:
        self._handle, self.close = _opened(self, path)
        self.first = True
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.first = False

    def share(self) -> None:
        """Let other processes in; called when the first one has tidied up."""
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_SH)


def _opened(holder: object, path: Path) -> tuple[int, weakref.finalize[[int], object]]:
    """Return a descriptor of a file and the function that closes it, at the latest with the end of its holder."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    return handle, weakref.finalize(holder, os.close, handle)
