"""SnapshotBuilder: rows of a snapshot in the order of the collections, whole tensors where requested.

ParameterUpdates: parameters before an update and what it made of them. CaptureSchedule: what is due at which step.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.tensors import STATISTICS, Mode, Moment, RawTensor, SavedRecord, SaveSchedule, Snapshot
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.save_plan import SavePlan, parse_save
from clearsight.debugger.capture.snapshot_builder import CaptureSchedule, ParameterUpdates, SnapshotBuilder
from clearsight.debugger.capture.transfer import RecordSender

AT = Moment("train", 3, 1, 3)


def sent(builder: SnapshotBuilder) -> list[SavedRecord]:
    records: list[SavedRecord] = []
    builder.send(RecordSender(records.append))
    return records


def test_rows_come_by_collection_and_then_in_the_order_of_adding() -> None:
    builder = SnapshotBuilder(AT, statistics=True, sample=None, requests=())
    builder.add("activations", "activation/a", torch.ones(2))
    builder.add("weights", "b", torch.ones(3))
    builder.add("weights", "a", torch.ones(4))
    (snapshot,) = sent(builder)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.names == ("b", "a", "activation/a")
    assert snapshot.table[:, 0].tolist() == [3, 4, 2]


def test_a_tensor_is_read_as_it_was() -> None:
    builder = SnapshotBuilder(AT, statistics=True, sample=None, requests=parse_save(["w"]))
    tensor = torch.ones(5)
    builder.add("weights", "w", tensor)
    tensor.zero_()
    raw, snapshot = sent(builder)
    assert isinstance(raw, RawTensor)
    assert isinstance(snapshot, Snapshot)
    assert raw.value.tolist() == [1] * 5
    assert snapshot.table[0, STATISTICS.index("mean")] == 1


def test_nothing_is_sent_twice_and_nothing_of_nothing() -> None:
    builder = SnapshotBuilder(AT, statistics=True, sample=None, requests=())
    assert sent(builder) == []
    builder.add("weights", "w", torch.ones(5))
    assert len(sent(builder)) == 1
    assert sent(builder) == []


def test_whole_numbers_have_no_statistics() -> None:
    builder = SnapshotBuilder(AT, statistics=True, sample=None, requests=())
    builder.add("activations", "activation/indices", torch.ones(5, dtype=torch.long))
    assert sent(builder) == []


def test_the_ratio_is_that_of_the_norms_of_everything_trained() -> None:
    builder = SnapshotBuilder(AT, statistics=True, sample=16, requests=())
    assert builder.update_ratio(["a"]) is None
    builder.add("weights", "a", torch.full((1000,), 2.0))
    builder.add("weights", "frozen", torch.full((1000,), 50.0))
    builder.add_sample("updates", "update/a", torch.full((16,), 0.5), 1000)
    ratio = builder.update_ratio(["a"])
    assert ratio is not None
    assert ratio.item() == pytest.approx(0.25)


@pytest.mark.parametrize("sample", [None, 128])
def test_an_update_is_the_difference_even_where_only_a_sample_is_copied(sample: int | None) -> None:
    model = nn.Linear(100, 50)
    builder = SnapshotBuilder(Moment("train", 1, 1, 1), statistics=True, sample=sample, requests=())
    updates = ParameterUpdates(InspectedModel.of(model), builder)
    with torch.no_grad():
        model.weight += 0.25
    updates.after()
    (snapshot,) = sent(builder)
    assert isinstance(snapshot, Snapshot)
    rows = dict(zip(snapshot.names, snapshot.table, strict=True))
    row = rows["update/weight"]
    assert row[STATISTICS.index("count")] == 5000
    np.testing.assert_allclose(row[STATISTICS.index("mean")], 0.25, rtol=1e-5)
    np.testing.assert_allclose(row[STATISTICS.index("l2")], 0.25 * np.sqrt(5000), rtol=1e-4)
    assert rows["update/bias"][STATISTICS.index("l2")] == 0
    assert dict(zip(snapshot.names, snapshot.collections, strict=True))["bias"] == "biases"


# What is due


def due_steps(schedule: CaptureSchedule, mode: Mode = "train", epochs: int = 2, per_epoch: int = 6) -> list[int]:
    moments = [Moment(mode, i + 1, i // per_epoch + 1, i + 1) for i in range(epochs * per_epoch)]
    return [at.step for at in moments if schedule.builder(at) is not None]


def test_statistics_follow_the_schedule_of_their_mode() -> None:
    schedule = CaptureSchedule(SavePlan(schedules={"train": SaveSchedule(every=5)}))
    assert due_steps(schedule) == [1, 5, 10]
    assert due_steps(schedule, "eval") == []


def test_requests_have_schedules_of_their_own() -> None:
    assert due_steps(CaptureSchedule(SavePlan(requests=parse_save(["gradients@steps=2,7"])))) == [2, 7]
    plan = SavePlan(schedules={"train": SaveSchedule(every=6)}, requests=parse_save(["gradients"]))
    assert due_steps(CaptureSchedule(plan)) == [1, 6, 12]


def test_once_per_epoch_is_at_its_first_step() -> None:
    assert due_steps(CaptureSchedule(SavePlan(requests=parse_save(["weights@epoch"])))) == [1, 7]


def test_a_request_alone_makes_no_statistics() -> None:
    builder = CaptureSchedule(SavePlan(requests=parse_save(["gradients@steps=1"]))).builder(Moment("train", 1, 1, 1))
    assert builder is not None
    assert not builder.statistics
    assert builder.wants("gradients")
    assert not builder.wants("activations")
