"""JobFiles: request, events and log of one job, by which the service and the process of the job talk.

The service writes the request before the process starts. The process appends events and log lines; both may append
events, and a reader takes complete lines alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clearsight.core.files import write_text

_PIECE = 1 << 20


class JobFiles:
    """Files of a job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def events(self) -> Path:
        """One JSON object a line: status, metric, artifacts, rule, exit_message, failed, finished."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Lines of milliseconds since 1970, a blank, and what the script wrote."""
        return self.path / "log.txt"

    @property
    def stop_file(self) -> Path:
        """File whose presence asks the process to stop."""
        return self.path / "stop"

    def create(self, request: dict[str, Any], service: dict[str, Any]) -> None:
        """Write what the process reads. service: where it finds the service; it holds a key, so it is private."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_request(request)
        write_text(self.path / "service.json", json.dumps(service, indent=2) + "\n", private=True)

    def write_request(self, request: dict[str, Any]) -> None:
        """Replace the request; a running process may read it again."""
        write_text(self.path / "request.json", json.dumps(request, indent=2) + "\n", private=True)

    def append(self, kind: str, **values: Any) -> None:
        """Append an event that happens now."""
        line = json.dumps({"time": time.time(), "kind": kind, **values}) + "\n"
        handle = os.open(self.events, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            is_cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # by the kill of a process
            os.write(handle, (b"\n" if is_cut else b"") + line.encode())
        finally:
            os.close(handle)

    def read_events(self, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the complete events from a byte on, each with the byte after it. Damaged lines are left out."""
        if not self.events.is_file():
            return
        with self.events.open("rb") as file:
            file.seek(offset)
            rest = b""
            while piece := file.read(_PIECE):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    offset += len(line) + 1
                    event = _event(line)
                    if event is not None:
                        yield event, offset


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_event = isinstance(event, dict) and isinstance(event.get("kind"), str)
    return event if is_event and isinstance(event.get("time"), int | float) else None
