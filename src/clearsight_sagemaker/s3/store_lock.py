"""StoreLock: a lock for the threads of several processes. SharedUse: which process may tidy up at its start."""

from __future__ import annotations

import fcntl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class StoreLock:
    """Reentrant lock on a file. The system releases it when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._threads, self._depth = threading.RLock(), 0
        self._file = path.open("ab")

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._depth == 0:
            with suppress(OSError):  # a file system without locks: the threads of one process exclude each other
                fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SharedUse:
    """Mark on a folder that this process uses it, as long as the process lives.

    first: True where no other process used the folder when this one began.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self.first = True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.first = False

    def share(self) -> None:
        """Let other processes in; called when the first one has tidied up."""
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def close(self) -> None:
        """Take the mark away."""
        self._file.close()
