"""Recorder: receives records while the training goes on, and writes them on a thread of its own."""

from __future__ import annotations

import json
import queue
import threading
import time
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
_BATCH = 256  # records written in one piece: one blob each instead of one file per record


class Recorder:
    """Writes scalars to `metrics` as lines of JSON and everything else to the store, each in the order of arrival.

    metrics: None where the training loop writes the scalars itself; they are then left out.
    Nothing is dropped: `add` waits while 256 records are pending. An error of writing is raised by the next `add` or
    by `close` (DiskFull where there is no room), once; what comes after it is not written.
    """

    def __init__(self, store: FileTensorStore, metrics: Path | None = None) -> None:
        self._store, self._metrics = store, metrics
        self._stream: IO[str] | None = None
        self._queue: queue.Queue[SavedRecord | None] = queue.Queue(_MAX_PENDING)
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
        self._queue.put(record)

    def close(self) -> None:
        """Write all that is left; may be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._guard.failure is not None and not self._raised:
            self._raised = True
            raise self._guard.failure

    def _work(self) -> None:
        more = True
        while more:
            batch, more = self._batch()
            # After an error the queue is emptied all the same, or the training would wait for a place in it for ever.
            self._guard.run(self._write, batch)
        self._guard.finish(self._close_files)

    def _batch(self) -> tuple[list[SavedRecord], bool]:
        """Return what comes within half a second of the first record, and True if more may follow."""
        record = self._queue.get()
        batch: list[SavedRecord] = []
        until = time.monotonic() + _MAX_DELAY
        while record is not None:
            batch.append(record)
            left = until - time.monotonic()
            if left <= 0 or len(batch) >= _BATCH:
                return batch, True
            try:
                record = self._queue.get(timeout=left)
            except queue.Empty:
                return batch, True
        return batch, False

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
