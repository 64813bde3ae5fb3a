"""BatchSchedule: the pieces of an epoch after which heads of different batch sizes take their steps.

K heads, M images in an epoch, P pieces that it is cut into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def odd_part(size: int) -> int:
    """Return a batch size without its factors of two: sizes with the same odd part can share a schedule."""
    return size // (size & -size)


class BatchSchedule:
    """An epoch cut into pieces of the smallest batch; a head with larger batches sums gradients over several of them.

    sizes: sorted batch sizes of the heads, each the one before times a power of two. So the heads whose batch ends with
    a piece are always the first few of all heads, a contiguous slice.  count: M.

    size: images in a piece.  bounds: (P + 1,) where pieces begin and the last one ends.  due: (P,) heads that take a
    step after a piece.  fresh: (P,) heads that begin a batch with it.  number: (P, K) step of the epoch that a piece
    belongs to, from 0.  steps: (K,) steps in the epoch.  lengths: (P, K) images in the batch that it belongs to.
    """

    def __init__(self, sizes: Sequence[int], count: int) -> None:
        self._sizes, self._count, self.size = list(sizes), count, sizes[0]
        self.bounds = _bounds(sizes[0], count)
        pieces = len(self.bounds) - 1
        parts = np.array(sizes) // sizes[0]  # (K) pieces in a batch
        ends = np.arange(1, pieces + 1)[:, None] % parts == 0  # (P, K) whether a batch ends with the piece
        ends[-1] = True  # the last batch of an epoch may be short
        self.due: list[int] = ends.sum(1).tolist()
        self.fresh = [len(sizes), *self.due[:-1]]
        self.number: Ints = np.arange(pieces)[:, None] // parts
        self.steps: list[int] = (self.number[-1] + 1).tolist()
        begins = self.number * np.array(sizes)
        self.lengths: Ints = np.minimum(begins + np.array(sizes), count) - begins

    def runs(self) -> Iterator[tuple[slice, list[int]]]:
        """Yield the heads of each batch size as a slice, with the rows at which their batches begin."""
        at = 0
        for size, heads in groupby(self._sizes):
            end = at + len(list(heads))
            yield slice(at, end), _bounds(size, self._count)[:-1]
            at = end


def _bounds(size: int, count: int) -> list[int]:
    return [*range(0, count, size), count]
