"""The images of an epoch in the order in which they are seen, for all groups of a stack that see them so.

V views, N images, D features, M places in the order of an epoch (N, but for orders that draw images again).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clearsight.training.batches import Order
from clearsight.training.heads.job import HeadData

_WHOLE = 1 << 28  # bytes of an epoch's features; more is gathered piece by piece, to spare the memory of a second copy


class EpochRows:
    """One epoch in one order. labels: (M,).  Pieces of any size are cut from it."""

    def __init__(self, features: Tensor, labels: Tensor, order: Tensor, gathered: Tensor | None) -> None:
        """features: (N, D).  order: (M,).  gathered: (M, D) float32, the features in that order, where they are made
        ready."""
        self.labels = labels.index_select(0, order)
        self._features, self._order, self._gathered = features, order, gathered

    def pieces(self, bounds: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each piece between two bounds its features (B, D) float32 and its labels (B,)."""
        for begin, end in pairwise(bounds):
            yield self._inputs(begin, end), self.labels[begin:end]

    def _inputs(self, begin: int, end: int) -> Tensor:
        if self._gathered is not None:
            return self._gathered[begin:end]
        return self._features.index_select(0, self._order[begin:end]).float()


class RowCache:
    """Gives the rows of an epoch, and keeps the latest: groups that ask one after another share them, and those of an
    epoch before are good no longer.

    valid: features (Nv, D), as float32 where that costs little, and labels (Nv,) of the validation split, if any.
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
        """The rows of an epoch (from 1) in the order of a seed."""
        if self._latest is None or self._latest[0] != (epoch, seed):
            self._latest = (epoch, seed), self._gather(epoch, seed)
        return self._latest[1]

    def _gather(self, epoch: int, seed: int) -> EpochRows:
        if seed not in self._orders:
            self._orders[seed] = self._data.order(seed)
        order = torch.tensor(np.asarray(self._orders[seed](epoch)), device=self._labels.device)
        features = self._data.views[(epoch - 1) % len(self._data.views)]
        return EpochRows(features, self._labels, order, self._ordered(features, order))

    def _ordered(self, features: Tensor, order: Tensor) -> Tensor | None:
        """The features in order, in the memory of the epoch before: fresh pages cost more than what is put there."""
        if not _is_small(features[:1].expand(len(order), -1)):
            return None
        if len(self._buffer) != len(order):
            self._buffer = features.new_empty((len(order), features.shape[1]), dtype=torch.float32)
        if features.dtype == torch.float32:
            return torch.index_select(features, 0, order, out=self._buffer)
        return self._buffer.copy_(features.index_select(0, order))


def _is_small(features: Tensor) -> bool:
    """Whether a copy of features (N, D) as float32 is worth its memory."""
    return features.numel() * torch.float32.itemsize <= _WHOLE
