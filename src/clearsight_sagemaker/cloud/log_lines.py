"""Lines of a log file of a job, by byte and by time: "MILLISECONDS TEXT", never decreasing in time.

Only complete lines count: a process may be writing the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_NEAR = 64 << 10  # bytes that are read at once, and in which a line is searched one by one


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line. timestamp: milliseconds since 1970.  start, end: its bytes in the file, with the end of the line."""

    timestamp: int
    message: str
    start: int
    end: int


def lines_from(path: Path, offset: int) -> Iterator[LogLine]:
    """Yield the lines from a byte on. A line without a time has that of the one before it.

    The file is open only while a block is read, because thousands of logs may be read at the same time.
    """
    timestamp, rest = 0, b""
    while block := _block(path, offset + len(rest)):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            start, offset = offset, offset + len(line) + 1
            head, _, text = line.partition(b" ")
            if head.isdigit():
                timestamp = int(head)
            else:
                text = line
            yield LogLine(timestamp, text.decode(errors="replace"), start, offset)


def _block(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_NEAR)
    except FileNotFoundError:  # its job was deleted a moment ago
        return b""


def lines_before(path: Path, end: int | None, most_bytes: int) -> list[LogLine]:
    """Return the lines that end at or before a byte, at most so many bytes of them. end: None for the end."""
    size = path.stat().st_size
    end = size if end is None else min(end, size)
    start = max(0, end - most_bytes)
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # the rest of a line that began before, nothing where a line begins at `start`
            start = file.tell()
    lines = []
    for line in lines_from(path, start):
        if line.end > end:
            break
        lines.append(line)
    return lines


def offset_at(path: Path, timestamp: int) -> int:
    """Return a byte at which a line begins, near before the first line of a time or later."""
    low, high = 0, path.stat().st_size
    with path.open("rb") as file:
        while high - low > _NEAR:
            middle = (low + high) // 2
            start, found = _next_line(file, middle)
            if found is None or start >= high:
                high = middle
            elif found < timestamp:
                low = start
            else:
                high = middle
    return low


def _next_line(file: IO[bytes], offset: int) -> tuple[int, int | None]:
    """Return where the next line with a time begins, and its time; None at the end."""
    file.seek(offset)
    file.readline()
    while True:
        start = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            return start, None
        head = line.partition(b" ")[0]
        if head.isdigit():
            return start, int(head)
