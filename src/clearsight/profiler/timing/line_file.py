"""LineFile: a file that grows line by line and stays readable if the process is killed."""

from __future__ import annotations

import os
from pathlib import Path

_BLOCK = 1 << 16  # bytes read at a time, from the end of the file, in search of its last newline


class LineFile:
    """Appends whole lines to the file at `path`. The first write creates it, or drops an unfinished last line.

    Every write goes to the system at once, without a buffer, so that a kill loses nothing. Methods raise OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._handle: int | None = None

    def write(self, lines: str) -> None:
        """Append whole lines, each with its newline."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            drop_unfinished_line(self.path)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        rest = memoryview(lines.encode())
        while rest:  # a write to a pipe or a nearly full disk may take a part only
            rest = rest[os.write(self._handle, rest) :]

    def close(self) -> None:
        """Close the file. A later write opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def drop_unfinished_line(path: Path) -> None:
    """Cut off a last line without a newline, which the next line would continue. A missing file is left alone.

    Raises OSError.
    """
    if not path.is_file():
        return
    with path.open("r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
