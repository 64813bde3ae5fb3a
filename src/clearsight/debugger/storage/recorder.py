"""Recorder: receives records while the training goes on, and writes them on a thread of its own."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from clearsight.core.errors import ClearsightError
from clearsight.core.files import disk_full_as_error
from clearsight.core.guard import Guard
from clearsight.core.tensors import SavedRecord, Scalars
from clearsight.debugger.storage.tensor_store import FileTensorStore

_MAX_PENDING = 256  # records: where the disk falls behind by so many, training waits, so that memory stays bounded
_MAX_DELAY = 0.5  # seconds from a record's arrival until the system has it: a kill loses at most that


class Recorder:
    """Writes scalars to `metrics` as lines of JSON and everything else to the store, each in the order of arrival.

    The thread sleeps for half a second after the first record and then writes all that came, in one piece: one blob
    instead of one file per record, and no change of threads at each record, which costs a small network 10 % of a step.

    metrics: None where the training loop writes the scalars itself; they are then left out.
    Nothing is dropped: `add` waits while 256 records are pending. An error of writing is raised by the next `add` or
    by `close` (DiskFull where there is no room), once; what comes after it is not written.
    """

    def __init__(self, store: FileTensorStore, metrics: Path | None = None) -> None:
        self._store, self._metrics = store, metrics
        self._stream: IO[str] | None = None
        self._pending: deque[SavedRecord] = deque()
        self._arrived, self._hurry = (
            threading.Event(),
            threading.Event(),
        )  # a record is there; the thread must not sleep
        self._room = threading.Condition()
        # Its errors are raised to the caller instead of being reported.
        self._guard = Guard("the recorder", report=lambda sentence: None)
        self._closed = self._raised = False
        self._thread = threading.Thread(target=self._work, name="clearsight-recorder", daemon=True)
        self._thread.start()

    def add(self, record: SavedRecord) -> None:
        """Put a record on its way."""
        self._raise()
        if self._closed:
            raise ClearsightError("recorder", "it is closed and accepts no records")
        if len(self._pending) >= _MAX_PENDING:
            self._hurry.set()
            with self._room:
                self._room.wait_for(lambda: len(self._pending) < _MAX_PENDING)
        self._pending.append(record)
        # Asked first: setting an event takes its lock.
        if not self._arrived.is_set():
            self._arrived.set()

    def close(self) -> None:
        """Write all that is left; may be called twice."""
        if not self._closed:
            self._closed = True
            self._hurry.set()
            self._arrived.set()
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._guard.failure is not None and not self._raised:
            self._raised = True
            raise self._guard.failure

    def _work(self) -> None:
        while not self._closed:
            self._arrived.wait()
            self._hurry.wait(_MAX_DELAY)
            # Before the records are taken: one that comes later sets it again.
            self._arrived.clear()
            self._hurry.clear()
            self._write_pending()
        self._write_pending()
        self._guard.finish(self._close_files)

    def _write_pending(self) -> None:
        with self._room:
            batch = [self._pending.popleft() for _ in range(len(self._pending))]
            self._room.notify_all()
        # After an error they are taken all the same, or the training would wait for room for ever.
        if batch:
            self._guard.run(self._write, batch)

    def _write(self, batch: Sequence[SavedRecord]) -> None:
        scalars = [record for record in batch if isinstance(record, Scalars)]
        others = [record for record in batch if not isinstance(record, Scalars)]
        if scalars and self._metrics is not None:
            with disk_full_as_error(self._metrics):
                if self._stream is None:
                    self._metrics.parent.mkdir(parents=True, exist_ok=True)
                    self._stream = self._metrics.open("a", encoding="utf-8")
                self._stream.write("".join(line for record in scalars for line in _lines(record)))
                self._stream.flush()  # to the system, which outlives a killed process
        if others:
            self._store.append(others)

    def _close_files(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._store.close()


def _lines(record: Scalars) -> Iterator[str]:
    """Yield scalars as lines of metrics.jsonl; outside of training with the training steps done."""
    at = record.at
    head = {"step": at.step, "epoch": at.epoch, "mode": at.mode}
    if at.mode != "train":
        head["train_step"] = at.train_step
    for name, value in record.values.items():
        yield json.dumps({**head, "name": name, "value": float(value)}) + "\n"
