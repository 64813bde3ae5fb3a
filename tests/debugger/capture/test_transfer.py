"""Outbox: in order, at once on a CPU, and never waiting for a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clearsight.debugger.capture.transfer import TransferQueue


def test_from_a_cpu_things_are_handed_over_at_once_as_copies() -> None:
    got: list[np.ndarray] = []
    tensor = torch.ones(3)
    TransferQueue().send(lambda arrays: got.extend(arrays), [tensor])
    tensor.zero_()
    assert got[0].tolist() == [1, 1, 1]


def test_numpy_does_not_know_bfloat16_and_gets_float32() -> None:
    got: list[np.ndarray] = []
    TransferQueue().send(lambda arrays: got.extend(arrays), [torch.ones(2, dtype=torch.bfloat16)])
    assert got[0].dtype == np.float32


def test_what_is_sent_behind_something_on_its_way_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        done = False

        def query(self) -> bool:
            return self.done

        def synchronize(self) -> None:
            self.done = True

    outbox, order, event = TransferQueue(), [], Event()
    outbox._waiting.append((lambda arrays: order.append("first"), [], event))  # type: ignore[arg-type]
    outbox.send(lambda arrays: order.append("second"))
    outbox.deliver()
    assert order == []
    event.done = True
    outbox.deliver()
    assert order == ["first", "second"]


def test_in_the_end_everything_is_waited_for() -> None:
    class Event:
        def query(self) -> bool:
            return False

        def synchronize(self) -> None:
            """Waited."""

    outbox, order = TransferQueue(), []
    outbox._waiting.append((lambda arrays: order.append("late"), [], Event()))  # type: ignore[arg-type]
    outbox.deliver(wait=True)
    assert order == ["late"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_from_cuda_records_arrive_in_order() -> None:
    outbox, got = TransferQueue(), []
    for i in range(5):
        outbox.send(lambda arrays: got.append(float(arrays[0])), [torch.full((), float(i), device="cuda")])
    outbox.deliver(wait=True)
    assert got == [0, 1, 2, 3, 4]
