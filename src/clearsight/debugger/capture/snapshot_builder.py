"""SnapshotBuilder: collects the tensors of one step, until they are a Snapshot and RawTensors.

ParameterUpdates adds what an optimizer step changed. CaptureSchedule decides at which steps something is collected.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clearsight.core.tensors import COLLECTIONS, STATISTICS, Mode, Moment, SaveSchedule, Snapshot
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.save_plan import SavePlan, SaveRequest
from clearsight.debugger.capture.statistics import SAMPLE, Reading, flattened, read, read_sample, tabulate, thinned
from clearsight.debugger.capture.transfer import Arrays, RecordSender

# Collections with statistics; the others are saved whole, or as small tables of their own.
_TABLED = frozenset(("weights", "biases", "gradients", "updates", "activations"))
_L2 = STATISTICS.index("l2") - 1  # column of a Reading, which has no count


class _Row(NamedTuple):
    collection: str
    name: str
    reading: Reading


class SnapshotBuilder:
    """Reads tensors as they come up, without waiting for the device.

    statistics: True where a Snapshot is made.  sample: as of `read`.  requests: the whole tensors due at this step.
    """

    def __init__(self, at: Moment, *, statistics: bool, sample: int | None, requests: Sequence[SaveRequest]) -> None:
        self.at, self.statistics, self.sample, self._requests = at, statistics, sample, requests
        self._rows: list[_Row] = []
        self._raw: list[tuple[str, str, Tensor]] = []

    def wants(self, collection: str) -> bool:
        """Return True if a tensor of the collection could be saved in any form."""
        is_tabled = self.statistics and collection in _TABLED
        return is_tabled or any(r.pattern is not None or r.collection == collection for r in self._requests)

    def saves_whole(self, collection: str, name: str) -> bool:
        """Return True if the whole tensor is saved."""
        return any(request.matches(collection, name) for request in self._requests)

    def add(self, collection: str, name: str, tensor: Tensor) -> None:
        """Read a tensor as it is now; it may change afterwards."""
        # Indices and masks are whole numbers, whose statistics mean nothing.
        if self.statistics and collection in _TABLED and tensor.is_floating_point():
            self._rows.append(_Row(collection, name, read(tensor, self.sample)))
        self.add_whole(collection, name, tensor)

    def add_sample(self, collection: str, name: str, values: Tensor, count: int) -> None:
        """Read a sample of a tensor of `count` elements; `values` belongs to the builder from now on."""
        self._rows.append(_Row(collection, name, read_sample(values, count)))

    def add_whole(self, collection: str, name: str, tensor: Tensor) -> None:
        """Copy the whole tensor where a request names it."""
        if self.saves_whole(collection, name):
            self._raw.append((collection, name, tensor.detach().clone()))

    def add_several(self, collection: str, name: str, tensors: Iterable[Tensor]) -> None:
        """Copy whole tensors where a request names them: `name`, `name:1` and so on."""
        for place, tensor in enumerate(tensors):
            self.add_whole(collection, f"{name}:{place}" if place else name, tensor)

    def send(self, sender: RecordSender) -> None:
        """Send the records. May be called again after more was added."""
        for collection, name, tensor in self._raw:
            sender.tensor(self.at, collection, name, tensor)
        self._raw = []
        if self._rows:
            self._send_snapshot(sender)
            self._rows = []

    def update_ratio(self, names: Sequence[str]) -> Tensor | None:
        """Return L2 of the whole update over L2 of the parameters `names`; None where either was not read."""
        trained = set(names)
        weights = [r.reading for r in self._rows if r.collection in ("weights", "biases") and r.name in trained]
        updates = [r.reading for r in self._rows if r.collection == "updates"]
        if not weights or not updates:
            return None
        return _norm(updates) / _norm(weights).clamp_min(1e-30)  # weights that are all 0 give no division by 0

    def _send_snapshot(self, sender: RecordSender) -> None:
        rows = sorted(self._rows, key=lambda row: COLLECTIONS.index(row.collection))
        # A model may lie on several devices: one table each, and the rows go back into one order on the host.
        by_device: dict[torch.device, list[int]] = {}
        for place, row in enumerate(rows):
            by_device.setdefault(row.reading.values.device, []).append(place)
        parts = [tabulate([rows[place].reading for place in places]) for places in by_device.values()]
        order = np.argsort(np.concatenate(list(by_device.values())))
        names, collections = tuple(row.name for row in rows), tuple(row.collection for row in rows)

        def receive(arrays: Arrays) -> None:
            table, histograms = np.concatenate(arrays[0::2])[order], np.concatenate(arrays[1::2])[order]
            sender.emit(Snapshot(self.at, names, collections, table, histograms))

        sender.send(receive, [tensor for part in parts for tensor in part])


class ParameterUpdates:
    """Adds the parameters of a model to a builder when it is made, before an update, and the differences after that.

    Where the builder reads samples only the sampled elements are copied, so that a large model needs no second copy of
    its weights.
    """

    @torch.no_grad()
    def __init__(self, model: InspectedModel, builder: SnapshotBuilder) -> None:
        self._model, self._builder = model, builder
        # Before the update: these are the weights with which the step computed its loss.
        for name, parameter in model.parameters:
            builder.add("biases" if "bias" in name.rpartition(".")[2] else "weights", name, parameter)
        copied = model.trained if builder.wants("updates") else ()
        self._copies = {name: self._copy(name, parameter) for name, parameter in copied}

    @torch.no_grad()
    def after(self) -> None:
        """Add the differences; call it right after the update."""
        for name, parameter in self._model.trained:
            before = self._copies.pop(name, None)
            if before is None:
                continue
            if before.shape == parameter.shape:
                # In place, on the copy that is no longer needed: no third copy of the weights.
                self._builder.add("updates", f"update/{name}", before.neg_().add_(parameter.detach()))
            elif self._builder.statistics:
                now = thinned(flattened(parameter.detach()), parameter.shape, self._builder.sample or SAMPLE)
                self._builder.add_sample("updates", f"update/{name}", now - before, parameter.numel())

    def _copy(self, name: str, parameter: Tensor) -> Tensor:
        sample = self._builder.sample
        if sample is None or self._builder.saves_whole("updates", f"update/{name}"):
            return parameter.detach().clone()
        return thinned(flattened(parameter.detach()), parameter.shape, sample).clone()


class CaptureSchedule:
    """Decides at each step what is due by a plan."""

    def __init__(self, plan: SavePlan) -> None:
        self._plan, self._sample = plan, SAMPLE if plan.depth == "light" else None
        self._epochs: dict[Mode, int] = {}  # the last one met, for requests "once per epoch"

    def builder(self, at: Moment) -> SnapshotBuilder | None:
        """Return an empty builder, or None where nothing is due. Call it once for each step, in order."""
        schedule = self._plan.schedules.get(at.mode)
        statistics = schedule is not None and schedule.due(at.step)
        is_new_epoch = self._epochs.get(at.mode) != at.epoch
        self._epochs[at.mode] = at.epoch
        requests = []
        for request in self._plan.requests:
            timing = request.schedule or schedule or SaveSchedule()
            if at.mode == request.mode and (is_new_epoch if request.per_epoch else timing.due(at.step)):
                requests.append(request)
        if not statistics and not requests:
            return None
        return SnapshotBuilder(at, statistics=statistics, sample=self._sample, requests=requests)


def _norm(readings: Sequence[Reading]) -> Tensor:
    """Return L2 over several tensors together, on the device of the first."""
    device = readings[0].values.device
    parts = []
    for reading in readings:
        if reading.by_values:
            # Each sampled element stands for size / len(values) of them, and L2 grows with the root of their number.
            scale = math.sqrt(reading.size / max(1, len(reading.values)))
            parts.append(torch.linalg.vector_norm(reading.values).to(device) * scale)
        else:
            parts.append(reading.exact[_L2].to(device))
    norm: Tensor = torch.linalg.vector_norm(torch.stack(parts))
    return norm
