"""EventLog: events.jsonl of a job, which the service follows."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from clearsight.core.files import finite_json, read_jsonl

_RESERVE_BYTES = 64 << 10  # for the last events of a job on a full disk


class EventLog:
    """Appends events, each a line that is written at once; used by several threads.

    previous: events of an earlier process of the same job, which did not come to its end.
    """

    def __init__(self, path: Path) -> None:
        self._drop_cut_line(path)
        self.previous = list(read_jsonl(path))
        self._reserve = path.with_name("events.reserve")
        with suppress(OSError):  # the disk is full already
            self._reserve.write_bytes(b"\0" * _RESERVE_BYTES)
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    @staticmethod
    def _drop_cut_line(path: Path) -> None:
        if path.is_file():
            content = path.read_bytes()
            if not content.endswith(b"\n"):
                os.truncate(path, content.rfind(b"\n") + 1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._reserve.unlink(missing_ok=True)

    def status(self, secondary: str, message: str) -> None:
        """Append a secondary status with the message that users see."""
        self.append("status", secondary=secondary, message=message)

    def metric(self, name: str, value: float, seconds: float) -> None:
        """Append a value of a metric. seconds: time of its line, of the epoch."""
        self.append("metric", name=name, value=value, time=seconds)

    def append(self, kind: str, **values: Any) -> None:
        """Append an event. Raises OSError where the disk is full and the room that was set aside is used up."""
        event = {"time": time.time(), "kind": kind, **values}
        line = json.dumps(finite_json(event), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._write(line)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._reserve.exists():
                    raise
                self._reserve.unlink()
                self._write(line)

    def _write(self, line: bytes) -> None:
        start = self._file.seek(0, os.SEEK_END)
        written = self._file.write(line)
        if written != len(line):  # the disk became full within the line
            os.ftruncate(self._file.fileno(), start)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
