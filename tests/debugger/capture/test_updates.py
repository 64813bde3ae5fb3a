"""ParameterUpdates: parameters before an update and what it made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.tensors import STATISTICS, Moment, SavedRecord, Snapshot
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder
from clearsight.debugger.capture.transfer import RecordSender
from clearsight.debugger.capture.updates import ParameterUpdates


@pytest.mark.parametrize("sample", [None, 128])
def test_an_update_is_the_difference_even_where_only_a_sample_is_copied(sample: int | None) -> None:
    model = nn.Linear(100, 50)
    builder = SnapshotBuilder(Moment("train", 1, 1, 1), statistics=True, sample=sample, requests=())
    updates = ParameterUpdates(InspectedModel.of(model), builder, sample)
    updates.before()
    with torch.no_grad():
        model.weight += 0.25
    updates.after()
    records: list[SavedRecord] = []
    builder.send(RecordSender(records.append))
    (snapshot,) = records
    assert isinstance(snapshot, Snapshot)
    rows = dict(zip(snapshot.names, snapshot.table, strict=True))
    row = rows["update/weight"]
    assert row[STATISTICS.index("count")] == 5000
    np.testing.assert_allclose(row[STATISTICS.index("mean")], 0.25, rtol=1e-5)
    np.testing.assert_allclose(row[STATISTICS.index("l2")], 0.25 * np.sqrt(5000), rtol=1e-4)
    assert rows["update/bias"][STATISTICS.index("l2")] == 0
    assert dict(zip(snapshot.names, snapshot.collections, strict=True))["bias"] == "biases"
