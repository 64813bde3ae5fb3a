"""PixelCache: decoded images in memory up to a budget, so that later epochs decode nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clearsight.core.dataset import Pixels


class PixelCache:
    """Stores the first images that fit `budget_bytes`, by id; the others are decoded each time.

    Nothing is ever evicted: epochs visit every image once, and least-recently-used would then drop each image just
    before it is wanted. Safe to use from several threads: two that miss the same id at the same time both compute it,
    and one of the results is stored.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget, self._used = budget_bytes, 0
        self._pixels: dict[str, Pixels] = {}
        self._lock = threading.Lock()

    def get(self, id: str, make: Callable[[], Pixels]) -> Pixels:
        """Return the image `id`, read-only; `make` is called (outside the lock) when it is not cached."""
        pixels = self._pixels.get(id)  # without the lock: one dict read is atomic, and entries never change
        if pixels is not None:
            return pixels
        pixels = make().view()  # a view, so that a source's own array stays as writeable as it was
        pixels.flags.writeable = False  # an augmentation in place would spoil later epochs
        with self._lock:
            if id not in self._pixels and self._used + pixels.nbytes <= self._budget:
                self._pixels[id] = pixels
                self._used += pixels.nbytes
        return pixels

    @property
    def used_bytes(self) -> int:
        """Return bytes of all cached images; never over the budget."""
        return self._used

    def __len__(self) -> int:
        return len(self._pixels)
