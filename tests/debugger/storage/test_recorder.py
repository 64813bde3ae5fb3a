"""Recorder: no record is dropped, no error is silent, and a kill loses at most a second."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import ClearsightError, DiskFull
from clearsight.core.tensors import Event, Moment, RawTensor, SavedRecord, Scalars
from clearsight.debugger.storage.metrics_reader import MetricsReader
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.saved_run import SavedRun
from clearsight.debugger.storage.tensor_store import FileTensorStore


def scalars(step: int, mode: str = "train") -> Scalars:
    return Scalars(Moment(mode, step, 1, step), {"loss": 1.0 / step, "accuracy": 0.5})  # type: ignore[arg-type]


class MemoryStore:
    """A store in memory that can be slow or broken."""

    def __init__(self, error: Exception | None = None) -> None:
        self.records: list[SavedRecord] = []
        self.error, self.closed = error, False
        self.gate = threading.Event()
        self.gate.set()

    def append(self, records: Sequence[SavedRecord]) -> None:
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        self.records += records

    def close(self) -> None:
        self.closed = True


def test_scalars_go_to_the_metrics_and_the_rest_to_the_store(tmp_path: Path) -> None:
    store = MemoryStore()
    recorder = Recorder(store, tmp_path / "metrics.jsonl")
    event = Event(Moment("train", 1, 1, 1), "phase", "head", {})
    for record in (scalars(1), event, scalars(2)):
        recorder.add(record)
    recorder.close()
    assert store.records == [event]
    assert store.closed
    assert MetricsReader(tmp_path / "metrics.jsonl").scalars() == [scalars(1), scalars(2)]


def test_lines_outside_of_training_say_how_far_the_training_was(tmp_path: Path) -> None:
    recorder = Recorder(MemoryStore(), tmp_path / "metrics.jsonl")
    recorder.add(Scalars(Moment("eval", 3, 2, 40), {"loss": 0.25}))
    recorder.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "step": 3,
        "epoch": 2,
        "mode": "eval",
        "train_step": 40,
        "name": "loss",
        "value": 0.25,
    }


def test_where_somebody_else_writes_the_metrics_scalars_are_left_to_them() -> None:
    store = MemoryStore()
    recorder = Recorder(store)
    recorder.add(scalars(1))
    recorder.close()
    assert store.records == []


def test_on_a_slow_disk_no_record_is_dropped_and_their_order_stays() -> None:
    store = MemoryStore()
    store.gate.clear()
    recorder = Recorder(store)
    events = [Event(Moment("train", i, 1, i), "action", str(i), {}) for i in range(1, 1500)]

    def produce() -> None:
        for event in events:
            recorder.add(event)

    producer = threading.Thread(target=produce)
    producer.start()
    producer.join(0.3)
    assert producer.is_alive()  # it waits: the queue is bounded
    store.gate.set()
    producer.join(10)
    recorder.close()
    assert store.records == events


def test_an_error_of_writing_is_raised_at_close_or_at_the_next_record(tmp_path: Path) -> None:
    full = DiskFull("tensors", "no space is left on the device")
    recorder = Recorder(MemoryStore(full))
    recorder.add(Event(Moment("train", 1, 1, 1), "phase", "", {}))
    with pytest.raises(DiskFull):
        recorder.close()
    recorder.close()  # raised once


def test_after_an_error_training_does_not_wait_for_ever() -> None:
    recorder = Recorder(MemoryStore(OSError("gone")))
    raised = 0
    for i in range(1, 2000):
        try:
            recorder.add(Event(Moment("train", i, 1, i), "phase", "", {}))
        except OSError:
            raised += 1
    try:
        recorder.close()
    except OSError:
        raised += 1
    assert raised == 1


def test_a_closed_recorder_accepts_nothing() -> None:
    recorder = Recorder(MemoryStore())
    recorder.close()
    recorder.close()
    with pytest.raises(ClearsightError, match="closed"):
        recorder.add(scalars(1))


_KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from clearsight.core.tensors import Moment, RawTensor, Scalars
from clearsight.debugger.storage.recorder import Recorder
from clearsight.debugger.storage.tensor_store import FileTensorStore
out = Path(sys.argv[1])
recorder = Recorder(FileTensorStore(out / "tensors"), out / "metrics.jsonl")
step, began = 0, time.monotonic()
while True:
    step += 1
    at = Moment("train", step, 1, step)
    recorder.add(Scalars(at, {"loss": 1.0 / step}))
    recorder.add(RawTensor(at, "w", "tensors", np.full(10, step)))
    print(step, time.monotonic() - began, flush=True)
    time.sleep(0.01)
"""


def test_a_killed_run_opens_and_lacks_at_most_its_last_second(tmp_path: Path) -> None:
    written: list[tuple[int, float]] = []
    words = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            step, seconds = line.split()
            written.append((int(step), float(seconds)))
            if written[-1][1] > 2.5:
                process.send_signal(signal.SIGKILL)
                break
    end = written[-1][1]
    due = max(step for step, seconds in written if seconds < end - 1.0)
    run = SavedRun(tmp_path)
    assert max(run.steps()) >= due
    stored = [record for record in FileTensorStore(tmp_path / "tensors").records() if isinstance(record, RawTensor)]
    assert [record.at.step for record in stored] == list(range(1, len(stored) + 1))
    assert len(stored) >= due
    np.testing.assert_array_equal(stored[-1].value, np.full(10, len(stored)))
    assert not run.ended
