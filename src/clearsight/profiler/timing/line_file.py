"""LineFile: a file that grows line by line and stays readable whatever happens to the process."""

from __future__ import annotations

import os
from pathlib import Path

_BLOCK = 1 << 16


class LineFile:
    """Appends to the file at `path`, which the first write makes or, where a crash cut its last line short, mends.

    Every write goes to the system at once, so that a kill loses nothing that was written. Methods raise OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def write(self, lines: str) -> None:
        """Append whole lines, each with its newline."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mend(self.path)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        rest = memoryview(lines.encode())
        while rest:
            rest = rest[os.write(self._handle, rest) :]

    def close(self) -> None:
        """Let go of the file; a later write opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def mend(path: Path) -> None:
    """Drop a last line without a newline: the next one would continue it. Nothing happens to a file that is not there.

    Raises OSError.
    """
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = place = file.seek(0, os.SEEK_END)
        while place:
            start = max(0, place - _BLOCK)
            file.seek(start)
            found = file.read(place - start).rfind(b"\n")
            if found >= 0:
                place = start + found + 1
                break
            place = start
        if place < end:
            file.truncate(place)
