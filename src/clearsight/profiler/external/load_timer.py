"""LoadTimer and SharedCounters: time that a process spends on the images that it makes, part by part, and its sums.

A part in a known function (decoding of PIL, transforms of torchvision) is timed at that function. The rest of the
making of an image is code of the user's own: it counts to the parts that the names of its functions suggest, as sampled
by `HotLines`, and to decoding where they suggest none.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clearsight.core.guard import Guard
from clearsight.core.profile import LOAD_PARTS
from clearsight.profiler.external.hot_lines import HotLines

REST = ""  # the making of an image outside of every known function
_DEFAULT_PART = "decode"
NAMES = (*LOAD_PARTS, "images", "bytes")
_FORMAT = struct.Struct(f"<{len(NAMES)}d")


class LoadTimer:
    """Times the thread that makes batches, one batch at a time. Other threads do not count.

    Nothing raises: an error ends the timing and is logged once.
    """

    def __init__(self, counters: SharedCounters, hot_lines: HotLines) -> None:
        self.guard = Guard("the profiler's timing of loader workers", report=logging.getLogger(__name__).warning)
        self.thread = 0  # the one that makes a batch at the moment
        self._counters, self._hot_lines = counters, hot_lines
        self._pid = os.getpid()
        self._open: list[str] = []
        self._amounts: dict[str, float] = {}
        self._mark = 0.0

    def sums(self) -> Mapping[str, float]:
        """Return what all loader workers spent so far: seconds by part, and the number of "images" and "bytes"."""
        return self._counters.sums()

    def begin(self) -> bool:
        """Begin a batch on the calling thread. Return False if it is not timed, and `end` must not be called."""
        if (self.thread and self._pid == os.getpid()) or self.guard.off:
            return False
        if self._pid != os.getpid():  # forked while the parent made a batch
            self._pid = os.getpid()
            self._counters.close()
        self._open, self._amounts, self._mark = [REST], {}, time.perf_counter()
        self.thread = threading.get_ident()
        self._hot_lines.follow(self.thread, self._open)
        return True

    def end(self, images: int) -> None:
        """End the batch, of so many images."""
        self._charge()
        self.thread = 0
        self._hot_lines.pause()
        self.guard.run(self._add, images)

    def enter(self, part: str) -> None:
        """Begin a part, of LOAD_PARTS. A part inside of it has its own time."""
        self._charge()
        self._open.append(part)

    def leave(self) -> None:
        """End the part that began last."""
        self._charge()
        if len(self._open) > 1:  # the first is REST, which ends with the batch
            self._open.pop()

    def busy_here(self) -> bool:
        """Return True if the calling thread makes a batch."""
        return self.thread == threading.get_ident()

    def count_bytes(self, amount: float) -> None:
        """Count bytes that were read."""
        self._amounts["bytes"] = self._amounts.get("bytes", 0.0) + amount

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, timed as a part wherever it is called while a batch is made."""
        assert part in LOAD_PARTS

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.thread != threading.get_ident():
                return function(*args, **kwargs)
            self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return timed

    def close(self) -> None:
        """Close files and end the sampling of hot lines."""
        self.thread = 0
        self._hot_lines.close()
        self._counters.close()

    def _add(self, images: int) -> None:
        rest = self._amounts.pop(REST, 0.0)
        for named, share in (self._hot_lines.shares() or {_DEFAULT_PART: 1.0}).items():
            part = named or _DEFAULT_PART
            self._amounts[part] = self._amounts.get(part, 0.0) + rest * share
        self._amounts["images"] = images
        self._counters.add(self._amounts)

    def _charge(self) -> None:
        """Add the time since the last change to the innermost open part."""
        now = time.perf_counter()
        part = self._open[-1]
        self._amounts[part] = self._amounts.get(part, 0.0) + now - self._mark
        self._mark = now


class SharedCounters:
    """Sums of what all loader workers of a process spent so far, in a small file. Methods raise OSError.

    Loader workers are other processes, which start and end at any time and may be killed. Each adds its amounts under a
    lock that the system releases when a process dies, so that the sums are never wrong by more than a batch.

    path: returns the path of the file, called when it is first needed: only then it is known who trains. The first
    addition creates it.
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
