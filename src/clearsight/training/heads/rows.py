"""EpochRows: the images of an epoch in training order, and RowCache, which shares them between groups of heads.

V views, N images, D features, M places in the order of an epoch (N, except for orders that draw images repeatedly).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clearsight.training.batches import Order
from clearsight.training.heads.job import HeadData

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
