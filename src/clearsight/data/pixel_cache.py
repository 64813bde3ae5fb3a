"""PixelMemory: decoded images kept in RAM up to a budget, so that later epochs decode nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clearsight.core.dataset import Pixels


class PixelCache:
    """Keeps the first images that fit `budget_bytes`, by id; what does not fit is made anew each time.

    Nothing is ever evicted: epochs visit every image once, and least-recently-used would then drop each image just
    before it is wanted. Safe to use from several threads; two that miss the same id at once both make it, one is kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget, self._used = budget_bytes, 0
        self._kept: dict[str, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, id: str, make: Callable[[], Pixels]) -> Pixels:
        """The image `id`, read-only; `make` is called (outside the lock) when it is not kept."""
        kept = self._kept.get(id)
        if kept is not None:
            return kept
        made = make().view()  # a view, so that a source's own array stays as writeable as it was
        made.flags.writeable = False
        with self._lock:
            if id not in self._kept and self._used + made.nbytes <= self._budget:
                self._kept[id] = made
                self._used += made.nbytes
        return made

    @property
    def used_bytes(self) -> int:
        """Bytes of all kept images; never over the budget."""
        return self._used

    def __len__(self) -> int:
        return len(self._kept)
