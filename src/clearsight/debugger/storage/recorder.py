"""Recorder: takes records while training goes on and writes them on a thread of its own."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Protocol

from clearsight.core.errors import ClearsightError
from clearsight.core.files import disk_full_as_error
from clearsight.core.tensors import SavedRecord, Scalars

_WAITING = 256  # records; where the disk is slower than training for so long, training waits
_SECONDS = 0.5  # at most, from a record's arrival until it is handed to the system
_TOGETHER = 256  # records written in one piece


class RecordSink(Protocol):
    """What a recorder needs of a store."""

    def append(self, records: Sequence[SavedRecord]) -> None: ...

    def close(self) -> None: ...


class Recorder:
    """Scalars go to `metrics` as lines of JSON, everything else to the store, each in the order in which it came.

    metrics: None where somebody else writes the scalars: they are then left out.
    Nothing is dropped: `add` waits while 256 records are under way. An error of writing is raised by the next `add` or
    by `close` (DiskFull where there is no room), and what comes after it is not written.
    """

    def __init__(self, store: RecordSink, metrics: Path | None = None) -> None:
        self._store, self._metrics = store, metrics
        self._stream: IO[str] | None = None
        self._queue: queue.Queue[SavedRecord | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="clearsight-recorder", daemon=True)
        self._thread.start()

    def add(self, record: SavedRecord) -> None:
        """Hand over a record."""
        self._raise()
        if self._closed:
            raise ClearsightError("recorder", "it is closed already")
        self._queue.put(record)

    def close(self) -> None:
        """Write all that is left; may be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _work(self) -> None:
        more = True
        while more:
            batch, more = self._batch()
            if self._failed:
                continue  # goes on taking, so that nobody waits for a full queue
            try:
                self._write(batch)
            except Exception as error:
                self._error, self._failed = error, True
        self._end()

    _failed = False

    def _batch(self) -> tuple[list[SavedRecord], bool]:
        """What comes within half a second of the first, and whether more may follow."""
        record = self._queue.get()
        batch: list[SavedRecord] = []
        until = time.monotonic() + _SECONDS
        while record is not None:
            batch.append(record)
            left = until - time.monotonic()
            if left <= 0 or len(batch) >= _TOGETHER:
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
                self._append(self._metrics, scalars)
        if others:
            self._store.append(others)

    def _append(self, path: Path, scalars: Iterable[Scalars]) -> None:
        if self._stream is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a", encoding="utf-8")
        self._stream.write("".join(line for record in scalars for line in metrics_lines(record)))
        self._stream.flush()

    def _end(self) -> None:
        try:
            if self._stream is not None:
                self._stream.close()
            self._store.close()
        except Exception as error:
            self._error = self._error or error


def metrics_lines(record: Scalars) -> Iterable[str]:
    """Scalars as lines of metrics.jsonl; outside of training with the training steps done."""
    at = record.at
    head = {"step": at.step, "epoch": at.epoch, "mode": at.mode}
    more = {} if at.mode == "train" else {"train_step": at.train_step}
    for name, value in record.values.items():
        yield json.dumps({**head, **more, "name": name, "value": float(value)}) + "\n"
