"""Ledger: what all readers of a process spent so far, summed up in a small file that they share.

Readers are other processes, which start, end and are killed as they like. Each adds what it spent since the last time
under a lock that the system takes back when a process dies; so the sums are never wrong by more than a batch.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from clearsight.core.profile import LOAD_PARTS

NAMES = (*LOAD_PARTS, "images", "bytes")
_FORM = struct.Struct(f"<{len(NAMES)}d")


class SharedCounters:
    """The sums in a file that the first addition makes; `place` says where, asked when it is needed first.

    Methods raise OSError.
    """

    def __init__(self, place: Callable[[], Path]) -> None:
        self._place = place
        self._file: int | None = None

    def add(self, amounts: Mapping[str, float]) -> None:
        """Add to the sums; amounts by name, of NAMES."""
        if self._file is None:
            path = self._place()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.lockf(self._file, fcntl.LOCK_EX)  # of the process, so that forked readers exclude each other too
        try:
            sums = (had + amounts.get(name, 0.0) for name, had in zip(NAMES, self._read(self._file), strict=True))
            os.pwrite(self._file, _FORM.pack(*sums), 0)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def sums(self) -> dict[str, float]:
        """The sums so far, all 0 before the first addition."""
        if self._file is None:
            try:
                self._file = os.open(self._place(), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return dict.fromkeys(NAMES, 0.0)
        return dict(zip(NAMES, self._read(self._file), strict=True))

    def close(self) -> None:
        """Let go of the file; later use opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _read(file: int) -> tuple[float, ...]:
        told = os.pread(file, _FORM.size, 0)
        return _FORM.unpack(told) if len(told) == _FORM.size else (0.0,) * len(NAMES)
