"""ServerStatus: what the process of a model server says of itself, in a file of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from clearsight.core.errors import BadData
from clearsight.core.files import read_json, write_text
from clearsight.core.machine import process_ended

_FILE = "status.json"
_MOST_REASON = 4000  # characters, from the end: the last lines of a traceback say most


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerStatus:
    """Status of a server. reason: why it failed, or why its model cannot be loaded; "" for neither.

    status: "preparing" until it listens; "ready"; "failed" where model, code or packages cannot be had.
    port: on loopback.  token: that requests must have, so that other users of the machine have no access.
    process: its `process_identity`.
    """

    status: Literal["preparing", "ready", "failed"]
    reason: str = ""
    port: int = 0
    token: str = ""
    process: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the file."""
        values = {**asdict(self), "process": dict(self.process), "reason": self.reason[-_MOST_REASON:]}
        write_text(folder / _FILE, json.dumps(values) + "\n", private=True)

    @classmethod
    def read(cls, folder: Path) -> ServerStatus:
        """Return the status of a folder; "preparing" where no process has written one, or the one that did has ended.

        A failure outlives its process.
        """
        path = folder / _FILE
        try:
            status = cls(**read_json(path)) if path.is_file() else cls(status="preparing")
        except (BadData, TypeError):
            return cls(status="preparing")
        if status.status == "ready" and process_ended(status.process):
            return cls(status="preparing")
        return status
