"""Take: rows of a snapshot in the order of the collections, whole tensors where wished for."""

from __future__ import annotations

import pytest
import torch

from clearsight.core.tensors import STATISTICS, Moment, RawTensor, SavedRecord, Snapshot
from clearsight.debugger.capture.save_plan import parse_save
from clearsight.debugger.capture.snapshot_builder import SnapshotBuilder
from clearsight.debugger.capture.transfer import TransferQueue

AT = Moment("train", 3, 1, 3)


def sent(take: SnapshotBuilder) -> list[SavedRecord]:
    records: list[SavedRecord] = []
    take.send(TransferQueue(), records.append)
    return records


def test_rows_come_by_collection_and_then_as_they_were_seen() -> None:
    take = SnapshotBuilder(AT, statistics=True, sample=None, wishes=())
    take.see("activations", "activation/a", torch.ones(2))
    take.see("weights", "b", torch.ones(3))
    take.see("weights", "a", torch.ones(4))
    (snapshot,) = sent(take)
    assert isinstance(snapshot, Snapshot)
    assert snapshot.names == ("b", "a", "activation/a")
    assert snapshot.table[:, 0].tolist() == [3, 4, 2]


def test_a_tensor_is_seen_as_it_was() -> None:
    take = SnapshotBuilder(AT, statistics=True, sample=None, wishes=parse_save(["w"]))
    tensor = torch.ones(5)
    take.see("weights", "w", tensor)
    tensor.zero_()
    raw, snapshot = sent(take)
    assert isinstance(raw, RawTensor)
    assert isinstance(snapshot, Snapshot)
    assert raw.value.tolist() == [1] * 5
    assert snapshot.table[0, STATISTICS.index("mean")] == 1


def test_nothing_is_sent_twice_and_nothing_of_nothing() -> None:
    take = SnapshotBuilder(AT, statistics=True, sample=None, wishes=())
    assert sent(take) == []
    take.see("weights", "w", torch.ones(5))
    assert len(sent(take)) == 1
    assert sent(take) == []


def test_whole_numbers_have_no_statistics() -> None:
    take = SnapshotBuilder(AT, statistics=True, sample=None, wishes=())
    take.see("activations", "activation/indices", torch.ones(5, dtype=torch.long))
    assert sent(take) == []


def test_the_ratio_is_that_of_the_norms_of_everything_trained() -> None:
    take = SnapshotBuilder(AT, statistics=True, sample=16, wishes=())
    assert take.ratio(["a"]) is None
    take.see("weights", "a", torch.full((1000,), 2.0))
    take.see("weights", "frozen", torch.full((1000,), 50.0))
    take.see_sample("updates", "update/a", torch.full((16,), 0.5), 1000)
    ratio = take.ratio(["a"])
    assert ratio is not None
    assert ratio.item() == pytest.approx(0.25)
