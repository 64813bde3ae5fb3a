"""IndexReader: finds the tensors of a trial in its index files, and fetches their values."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Iterator

import numpy as np

from smdebug.core import layout
from smdebug.core.event_message import decode_event
from smdebug.core.file_store import FileStore
from smdebug.core.modes import ModeKeys
from smdebug.core.record_file import payloads
from smdebug.core.tensor import TensorLocation
from smdebug.exceptions import CorruptFile, IndexReaderException

POLL_SECONDS = 2.0
_MAX_POLLS = 100


@dataclass(frozen=True)
class TensorEntry:
    """A tensor of an index file: its place, or its shape, or both."""

    name: str
    step: int
    mode: ModeKeys
    mode_step: int
    worker: str
    location: TensorLocation | None = None
    shape: tuple[int, ...] | None = None


class IndexReader:
    """Reads each index file once.

    range_steps: (begin, end) of the global steps that are read; None for no limit.  check: verify checksums.
    """

    def __init__(self, files: FileStore, range_steps: tuple[int | None, int | None] | None, check: bool) -> None:
        self._files, self._check = files, check
        begin, end = range_steps or (None, None)
        self._begin, self._end = begin or 0, end
        self._read: set[str] = set()
        self._oldest = ""  # files before this one have all been read

    def new_entries(self, last_complete: int) -> Iterator[TensorEntry]:
        """Yield the tensors of files that are new. last_complete: no files come for steps up to this one."""
        for name in self._files.names(layout.INDEX_FOLDER, self._oldest):
            place = layout.parse_index_file(name)
            if place is None or name in self._read:
                continue
            self._read.add(name)
            step, worker = place
            if step >= self._begin and (self._end is None or step < self._end):
                yield from self._entries(name, step, worker)
        if last_complete > 0:
            # Behind all files of the steps before: worker names sort before "~".
            self._oldest = layout.index_file(last_complete - 1, "~")
            self._read = {name for name in self._read if name > self._oldest}

    def fetch(self, location: TensorLocation) -> np.ndarray | None:
        """Return the value of a record; None where training ended without its file. Raises CorruptFile."""
        for _ in range(_MAX_POLLS):
            ended = self._files.exists(layout.END_OF_TRAINING)
            try:
                data = self._files.read(location.event_file, location.start, location.length)
            except FileNotFoundError:
                if ended:
                    return None
                time.sleep(POLL_SECONDS)  # the index has arrived before the tensors
                continue
            events = [event for payload in payloads(data, check=self._check) for event in decode_event(payload)]
            if len(events) != 1:
                raise CorruptFile(f"{location.event_file} at byte {location.start}: there is no tensor.")
            return events[0].value
        return None

    def _entries(self, name: str, step: int, worker: str) -> Iterator[TensorEntry]:
        try:
            index = json.loads(self._files.read(name))
            meta = index["meta"]
            mode, mode_step = ModeKeys[meta["mode"].strip()], int(meta["mode_step"])
            for item in index.get("tensor_payload") or ():
                location = TensorLocation(meta["event_file_name"], int(item["start_idx"]), int(item["length"]))
                yield TensorEntry(item["tensorname"], step, mode, mode_step, worker, location)
            for item in index.get("shape_payload") or ():
                shape = tuple(int(size) for size in item["shape"])
                yield TensorEntry(item["tensorname"], step, mode, mode_step, worker, shape=shape)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexReaderException(f"{name}: not an index that smdebug writes ({error!r}).") from None
