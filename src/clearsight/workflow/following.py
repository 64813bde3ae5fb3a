"""Following: the lines that others append to a file, each read once, however often one looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

_SEAL = 256  # bytes before the place that is read from, by which a rewritten file is known


class LineFollower:
    """A file of lines that grows while it is read; it need not be there yet.

    A last line without its end is left for the next look. A file that was cut short or written anew (a run that goes
    on drops the lines after its checkpoint) is read again from its start, and `restarts` counts that.
    """

    def __init__(self, path: Path, *, tail: int | None = None) -> None:
        """tail: of a file that is there already, only about so many of its last bytes are read; None for all."""
        self.path = path
        self.restarts = 0
        self.broken = 0  # whole lines that were no JSON: what a crash cut short and another process wrote behind
        self._tail = tail
        self._offset = 0
        self._seal = b""
        self._looked = False
        self._cut = False  # whether reading began within a line

    def lines(self) -> list[str]:
        """The whole lines that came since the last look, without their ends."""
        try:
            with self.path.open("rb") as stream:
                size = stream.seek(0, 2)
                if not self._same(stream, size):
                    self._start_again()
                self._skip(size)
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return self._gone()
        end = data.rfind(b"\n") + 1
        if not end:
            return []
        whole = data[:end]
        self._offset += end
        self._seal = (self._seal + whole)[-_SEAL:]
        told = whole.decode("utf-8", errors="replace").split("\n")[:-1]
        if self._cut:
            self._cut = False
            del told[0]
        return told

    def rows(self) -> list[dict[str, Any]]:
        """The same of a file of JSON lines, as objects."""
        told = []
        for line in filter(None, self.lines()):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                told.append(row)
            else:
                self.broken += 1
        return told

    def _same(self, stream: BinaryIO, size: int) -> bool:
        """Whether what was read is still what stands before the place to read on from."""
        if size < self._offset:
            return False
        stream.seek(self._offset - len(self._seal))
        return bool(stream.read(len(self._seal)) == self._seal)

    def _skip(self, size: int) -> None:
        """Pass over all but the tail at the first look."""
        first, self._looked = not self._looked, True
        if first and self._tail is not None and size > self._tail:
            self._offset, self._cut = size - self._tail, True

    def _gone(self) -> list[str]:
        if self._offset:
            self._start_again()
        return []

    def _start_again(self) -> None:
        self.restarts += 1
        self._offset, self._seal, self._cut = 0, b"", False
