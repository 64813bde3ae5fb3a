"""Take: what is seen of a model in one step, until it is a Snapshot and RawTensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clearsight.core.tensors import COLLECTIONS, STATISTICS, Moment, RawTensor, SavedRecord, Snapshot
from clearsight.debugger.capture.save_plan import SaveRequest
from clearsight.debugger.capture.statistics import Reading, read, read_sample, tabulate
from clearsight.debugger.capture.transfer import Arrays, TransferQueue

_IN_TABLE = frozenset(("weights", "biases", "gradients", "updates", "activations"))
_L2 = STATISTICS.index("l2")


class _Row(NamedTuple):
    collection: str
    name: str
    reading: Reading


class SnapshotBuilder:
    """Tensors are shown to it as they come up; nothing waits for the device.

    statistics: whether a Snapshot is made.  sample: as in `summarize`.  wishes: the whole tensors due at this step.
    """

    def __init__(self, at: Moment, *, statistics: bool, sample: int | None, wishes: Sequence[SaveRequest]) -> None:
        self.at, self.statistics, self.sample, self._wishes = at, statistics, sample, wishes
        self._rows: list[_Row] = []
        self._raw: list[tuple[str, str, Tensor]] = []

    def wants(self, collection: str) -> bool:
        """Whether a tensor of the collection could be kept in any form."""
        tabled = self.statistics and collection in _IN_TABLE
        return tabled or any(wish.pattern is not None or wish.collection == collection for wish in self._wishes)

    def keeps(self, collection: str, name: str) -> bool:
        """Whether the whole tensor is kept."""
        return any(wish.wants(collection, name) for wish in self._wishes)

    def see(self, collection: str, name: str, tensor: Tensor) -> None:
        """Show a tensor as it is now; it may change afterwards."""
        if self.statistics and collection in _IN_TABLE and tensor.is_floating_point():
            self._rows.append(_Row(collection, name, read(tensor, self.sample)))
        self.keep(collection, name, tensor)

    def see_sample(self, collection: str, name: str, values: Tensor, count: int) -> None:
        """Show a sample of a tensor of `count` elements; it is taken over."""
        self._rows.append(_Row(collection, name, read_sample(values, count)))

    def keep(self, collection: str, name: str, tensor: Tensor) -> None:
        """Keep the whole tensor where it is wished for."""
        if self.keeps(collection, name):
            self._raw.append((collection, name, tensor.detach().clone()))

    def send(self, outbox: TransferQueue, emit: Callable[[SavedRecord], None]) -> None:
        """Send the records off. May be called again after more was seen."""
        for collection, name, tensor in self._raw:
            outbox.send(self._raw_record(collection, name, emit), [tensor])
        self._raw = []
        if self._rows:
            self._send_snapshot(outbox, emit)
            self._rows = []

    def ratio(self, names: Sequence[str]) -> Tensor | None:
        """L2 of the whole update over the L2 of these parameters, of what was seen; None where either is missing."""
        trained = set(names)
        weights = [r.reading for r in self._rows if r.collection in ("weights", "biases") and r.name in trained]
        updates = [r.reading for r in self._rows if r.collection == "updates"]
        if not weights or not updates:
            return None
        return _norm(updates) / _norm(weights).clamp_min(1e-30)

    def _send_snapshot(self, outbox: TransferQueue, emit: Callable[[SavedRecord], None]) -> None:
        rows = sorted(self._rows, key=lambda row: COLLECTIONS.index(row.collection))
        by_device: dict[torch.device, list[int]] = {}
        for place, row in enumerate(rows):
            by_device.setdefault(row.reading.values.device, []).append(place)
        parts = [tabulate([rows[place].reading for place in places]) for places in by_device.values()]
        order = np.argsort(np.concatenate(list(by_device.values())))
        names, collections = tuple(row.name for row in rows), tuple(row.collection for row in rows)

        def made(arrays: Arrays) -> None:
            table, histograms = np.concatenate(arrays[0::2])[order], np.concatenate(arrays[1::2])[order]
            emit(Snapshot(self.at, names, collections, table, histograms))

        outbox.send(made, [tensor for part in parts for tensor in part])

    def _raw_record(self, collection: str, name: str, emit: Callable[[SavedRecord], None]) -> Callable[[Arrays], None]:
        return lambda arrays: emit(RawTensor(self.at, name, collection, arrays[0]))


def _norm(readings: Sequence[Reading]) -> Tensor:
    """L2 over several tensors together, on the device of the first."""
    device = readings[0].values.device
    column = _L2 - 1  # readings have no count
    parts = []
    for reading in readings:
        if reading.sampled:
            scale = math.sqrt(reading.size / max(1, len(reading.values)))
            parts.append(torch.linalg.vector_norm(reading.values).to(device) * scale)
        else:
            parts.append(reading.exact[column].to(device))
    norm: Tensor = torch.linalg.vector_norm(torch.stack(parts))
    return norm


def number(value: Tensor | float) -> Tensor | float:
    """A number where it costs nothing to have one; on a device it stays there."""
    return value.item() if isinstance(value, Tensor) and value.device.type == "cpu" else value


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Statistics are not to be computed in the lower precision that the model's own layers run in."""
    return torch.autocast(tensor.device.type, enabled=False)
