"""EpochRows: the images of an epoch in training order; RowCache shares them between groups of heads.

BatchSchedule: the pieces of an epoch after which heads of different batch sizes take their steps.
K heads, P pieces of an epoch, V views, N images, D features, M places in the order of an epoch (N, except for orders
that draw images repeatedly).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.training.batches import Order
from clearsight.training.heads.job import HeadData

Ints = npt.NDArray[np.int64]

_MAX_COPY_BYTES = 1 << 28  # 256 MiB; features of an epoch beyond that are gathered piece by piece instead of copied


class EpochRows:
    """One epoch in one order, to be cut into pieces of any size. labels: (M,)."""

    def __init__(self, features: Tensor, labels: Tensor, order: Tensor, gathered: Tensor | None) -> None:
        """features: (N, D).  order: (M,).  gathered: (M, D) float32, the features in that order, or None where a copy
        of them would be too large."""
        self.labels = labels.index_select(0, order)
        self._features, self._order, self._gathered = features, order, gathered

    def pieces(self, bounds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield features (B, D) float32 and labels (B,) of each piece between two bounds."""
        for begin, end in pairwise(bounds):
            if self._gathered is not None:
                inputs = self._gathered[begin:end]
            else:
                inputs = self._features.index_select(0, self._order[begin:end]).float()
            yield inputs, self.labels[begin:end]


class RowCache:
    """Gathers the rows of an epoch and keeps the latest ones: groups that ask one after another share them.

    The rows of an earlier epoch must not be used any more: the next one overwrites their memory.
    valid: features (Nv, D), as float32 where the copy is small, and labels (Nv,) of the validation split, if any.
    """

    def __init__(self, data: HeadData) -> None:
        self._data = data
        self._labels = torch.tensor(data.labels, device=data.views.device)  # a copy: the array may be read-only
        self.valid = data.valid
        if data.valid is not None and _is_small(data.valid[0]):
            self.valid = data.valid[0].float(), data.valid[1]
        self._buffer = torch.empty(0)
        self._orders: dict[int, Order] = {}
        self._latest: tuple[tuple[int, int], EpochRows] | None = None

    def of(self, epoch: int, seed: int) -> EpochRows:
        """Return the rows of an epoch (from 1) in the order of a seed."""
        if self._latest is None or self._latest[0] != (epoch, seed):
            if seed not in self._orders:
                self._orders[seed] = self._data.order(seed)
            order = torch.tensor(np.asarray(self._orders[seed](epoch)), device=self._labels.device)
            features = self._data.views[(epoch - 1) % len(self._data.views)]
            self._latest = (epoch, seed), EpochRows(features, self._labels, order, self._ordered(features, order))
        return self._latest[1]

    def _ordered(self, features: Tensor, order: Tensor) -> Tensor | None:
        """Return the features in order, None if they are large. They reuse the memory of the epoch before: fresh pages
        cost more than the copying."""
        if not _is_small(features[:1].expand(len(order), -1)):
            return None
        if len(self._buffer) != len(order):
            self._buffer = features.new_empty((len(order), features.shape[1]), dtype=torch.float32)
        if features.dtype == torch.float32:
            return torch.index_select(features, 0, order, out=self._buffer)
        return self._buffer.copy_(features.index_select(0, order))


def _is_small(features: Tensor) -> bool:
    """Return True if a copy of features (N, D) as float32 is worth its memory."""
    return features.numel() * torch.float32.itemsize <= _MAX_COPY_BYTES


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
