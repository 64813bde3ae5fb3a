"""SharedCounters: sums of what all loader workers of a process spent so far, in a small file that they share.

Loader workers are other processes, which start and end at any time and may be killed. Each adds its amounts under a
lock that the system releases when a process dies, so that the sums are never wrong by more than a batch.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from clearsight.core.profile import LOAD_PARTS

NAMES = (*LOAD_PARTS, "images", "bytes")
_FORMAT = struct.Struct(f"<{len(NAMES)}d")


class SharedCounters:
    """Sums in a file, which the first addition creates. Methods raise OSError.

    path: returns the path of the file, called when it is first needed: only then it is known who trains.
    """

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._file: int | None = None

    def add(self, amounts: Mapping[str, float]) -> None:
        """Add amounts by name, of NAMES, to the sums."""
        if self._file is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.lockf(self._file, fcntl.LOCK_EX)  # belongs to the process: unlike flock it also excludes forked workers
        try:
            before = self._read(self._file)
            sums = (value + amounts.get(name, 0.0) for name, value in zip(NAMES, before, strict=True))
            os.pwrite(self._file, _FORMAT.pack(*sums), 0)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def sums(self) -> dict[str, float]:
        """Return the sums so far by name, all 0 before the first addition."""
        if self._file is None:
            try:
                self._file = os.open(self._path(), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return dict.fromkeys(NAMES, 0.0)
        return dict(zip(NAMES, self._read(self._file), strict=True))

    def close(self) -> None:
        """Close the file. Later use opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _read(file: int) -> tuple[float, ...]:
        data = os.pread(file, _FORMAT.size, 0)  # empty between the creation of the file and the first addition
        return _FORMAT.unpack(data) if len(data) == _FORMAT.size else (0.0,) * len(NAMES)
