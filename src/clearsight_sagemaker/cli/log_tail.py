"""LogTail: the last lines of a log and those that come, of the logs of jobs, whose lines begin with milliseconds."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_TAIL_BYTES, _LINE_BYTES = 64 << 10, 256  # of a log that are read at least, and for each line
_POLL_SECONDS = 0.2


class LogTail:
    """A log that is read from its end. Lines that are not complete yet are left for later."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def last(self, count: int) -> list[str]:
        """Return the last lines; the next `new` continues after them."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        self._offset = max(0, size - max(_TAIL_BYTES, _LINE_BYTES * count))
        is_cut = self._offset > 0
        lines = self.new()[is_cut:]
        return lines[-count:] if count else []

    def new(self) -> list[str]:
        """Return the lines since the last call."""
        if not self._path.is_file():  # somebody has deleted the stream
            self._offset = 0
            return []
        with self._path.open("rb") as file:
            if file.seek(0, 2) < self._offset:
                self._offset = 0
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return whole.decode(errors="replace").split("\n") if newline else []


def last_lines_of(logs: Mapping[str, Path], count: int) -> tuple[list[str], dict[str, LogTail]]:
    """Return the last lines of several logs, by their times, and the logs from there on.

    logs: by what their lines begin with.
    """
    tails = {start: LogTail(path) for start, path in logs.items()}
    parts = [_timed(start, tail.last(count)) for start, tail in tails.items()]
    merged = [text for _, text in heapq.merge(*parts, key=lambda line: line[0])]
    return merged[-count:] if count else [], tails


def new_lines_of(logs: Callable[[], Mapping[str, Path]], tails: dict[str, LogTail]) -> Iterator[str]:
    """Yield lines as they come, for ever. logs: those that are there now; later ones are read from their beginning."""
    while True:
        for start, path in logs().items():
            for _, text in _timed(start, tails.setdefault(start, LogTail(path)).new()):
                yield text
        time.sleep(_POLL_SECONDS)


def _timed(start: str, lines: list[str]) -> list[tuple[int, str]]:
    """Return lines without their times, with the time of each; a line without one has that of the line before."""
    timed, moment = [], 0
    for line in lines:
        head, _, text = line.partition(" ")
        is_timed = head.isdecimal()
        moment = max(moment, int(head)) if is_timed else moment
        timed.append((moment, start + (text if is_timed else line)))
    return timed
