"""LoadTimes: seconds of loading images, part by part, over all loader workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class LoadTimes:
    """Sums since the start: seconds of "read", "decode", "augment" and "collate", and how many "images" and "bytes".

    Safe to use from several threads. It is wall time, not processor time: a thread that waits for its turn takes time
    too, and more threads than cores show up as parts that take longer.
    """

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("read", "decode", "augment", "collate", "images", "bytes"), 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block as this part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, amount: float) -> None:
        """Add to a count."""
        with self._lock:  # `+=` on a dict entry is not atomic
            self._sums[name] += amount

    def sums(self) -> dict[str, float]:
        """Return all sums so far."""
        with self._lock:
            return dict(self._sums)
