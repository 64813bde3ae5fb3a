"""LoadTimes: what the making of images cost, part by part, over all threads that make them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class LoadTimes:
    """Sums since the start: seconds of "read", "decode", "augment" and "collate", and how many "images" and "bytes".

    Safe to use from several threads. A clock of the wall, not of the processor: a thread that waits for its turn costs
    time too, and more threads than cores show up as parts that grow dear.
    """

    def __init__(self) -> None:
        self._sums = dict.fromkeys(("read", "decode", "augment", "collate", "images", "bytes"), 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Within the block a reader does this part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began)

    def add(self, name: str, amount: float) -> None:
        """Count more of something."""
        with self._lock:
            self._sums[name] += amount

    def sums(self) -> dict[str, float]:
        """All sums so far."""
        with self._lock:
            return dict(self._sums)
