"""RecordSender: records of tensors, in order, at once on a CPU, without waiting for a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clearsight.core.tensors import Event, Moment, PredictionRecord, RawTensor, SavedRecord, Scalars
from clearsight.debugger.capture.transfer import RecordSender


def test_from_a_cpu_tensors_are_handed_over_at_once_as_copies() -> None:
    arrays_received: list[np.ndarray] = []
    tensor = torch.ones(3)
    RecordSender(print).send(lambda arrays: arrays_received.extend(arrays), [tensor])
    tensor.zero_()
    assert arrays_received[0].tolist() == [1, 1, 1]


def test_bfloat16_which_numpy_lacks_becomes_float32() -> None:
    arrays_received: list[np.ndarray] = []
    RecordSender(print).send(lambda arrays: arrays_received.extend(arrays), [torch.ones(2, dtype=torch.bfloat16)])
    assert arrays_received[0].dtype == np.float32


def test_what_is_sent_behind_something_on_its_way_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        done = False

        def query(self) -> bool:
            return self.done

        def synchronize(self) -> None:
            self.done = True

    sender, order, event = RecordSender(print), [], Event()
    sender._pending.append((lambda arrays: order.append("first"), [], event))  # type: ignore[arg-type]
    sender.send(lambda arrays: order.append("second"))
    sender.deliver()
    assert order == []
    event.done = True
    sender.deliver()
    assert order == ["first", "second"]


def test_in_the_end_everything_is_waited_for() -> None:
    class Event:
        def query(self) -> bool:
            return False

        def synchronize(self) -> None:
            """Return at once."""

    sender, order = RecordSender(print), []
    sender._pending.append((lambda arrays: order.append("late"), [], Event()))  # type: ignore[arg-type]
    sender.deliver(wait=True)
    assert order == ["late"]


def test_records_are_made_of_tensors_in_the_order_of_sending() -> None:
    records: list[SavedRecord] = []
    sender, at = RecordSender(records.append), Moment("train", 3, 1, 3)
    sender.scalars(at, {"loss": torch.tensor(0.5), "lr": 0.1})
    sender.tensor(at, "inputs", "input", torch.ones(2))
    sender.predictions(at, [torch.zeros(2, dtype=torch.long)] * 2 + [torch.ones(2)] * 2 + [torch.arange(2)])
    sender.emit(Event(at, "nonfinite", "fc", {"where": "layer"}))
    scalars, raw, predictions, event = records
    assert scalars == Scalars(at, {"loss": 0.5, "lr": 0.1})
    assert isinstance(raw, RawTensor)
    assert (raw.collection, raw.name, raw.value.tolist()) == ("inputs", "input", [1, 1])
    assert isinstance(predictions, PredictionRecord)
    assert predictions.indices.tolist() == [0, 1]
    assert event == Event(at, "nonfinite", "fc", {"where": "layer"})


def test_a_batch_without_a_label_makes_no_record() -> None:
    records: list[SavedRecord] = []
    ignored = torch.full((2,), -100)
    RecordSender(records.append).predictions(Moment("train", 1, 1, 1), [ignored, *[torch.zeros(2)] * 4])
    assert records == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_from_cuda_records_arrive_in_order() -> None:
    sender, values = RecordSender(print), []
    for i in range(5):
        sender.send(lambda arrays: values.append(float(arrays[0])), [torch.full((), float(i), device="cuda")])
    sender.deliver(wait=True)
    assert values == [0, 1, 2, 3, 4]
