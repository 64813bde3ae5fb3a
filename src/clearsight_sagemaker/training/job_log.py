"""JobLog: log.txt of a job. OutputReader: reads the output of a process tree into it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from clearsight_sagemaker.training.line_splitter import LineSplitter

_PIECE = 1 << 16  # bytes of a read
_TAIL_LINES = 60
_TAIL_CHARACTERS = 2000  # of a line that is held in memory


class JobLog:
    """Appends lines `<milliseconds of the epoch> <text>`; used by several threads. Times never go back.

    lost: lines that a full disk did not have room for.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._time, self.lost = 0, 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, *lines: str) -> None:
        """Append lines; within a text, line ends separate lines."""
        splitter = LineSplitter()
        self.append([text for line in lines for text in splitter.feed(line.encode() + b"\n")])

    def append(self, lines: Sequence[str]) -> None:
        """Append lines that hold no line ends. A full disk is no error here: the process that writes must go on."""
        with self._lock:
            self._time = max(self._time, int(time.time() * 1000))
            record = "".join(f"{self._time} {line}\n" for line in lines).encode()
            try:
                start = self._file.seek(0, os.SEEK_END)
                written = self._file.write(record)
                while written is not None and written < len(record):  # the rest raises where the disk is full
                    written += self._file.write(record[written:]) or 0
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                os.ftruncate(self._file.fileno(), start)
                self.lost += len(lines)


class LineLog(Protocol):
    """Log to which the lines of a process are appended."""

    def append(self, lines: Sequence[str]) -> None:
        """Append lines that hold no line ends."""
        ...


class OutputReader:
    """Thread that reads the pipe of a process tree until all of it has ended.

    Lines go to the log and to `on_lines`. A process that writes faster than the disk waits; nothing is dropped, and
    memory holds one piece of the pipe and the last lines.
    """

    def __init__(self, pipe: int, log: LineLog, on_lines: Callable[[Sequence[str]], None]) -> None:
        self._pipe, self._log, self._on_lines = pipe, log, on_lines
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._read, name="output reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        splitter = LineSplitter()
        try:
            with open(self._pipe, "rb", buffering=0) as pipe:
                while piece := pipe.read(_PIECE):
                    self._lines(splitter.feed(piece))
            self._lines(splitter.finish())
        except OSError as error:  # the pipe is closed: whoever writes to it ends, and the job does not hang
            self._error = error

    def _lines(self, lines: Sequence[str]) -> None:
        if lines:
            self._log.append(lines)
            self.tail.extend(line[:_TAIL_CHARACTERS] for line in lines[-_TAIL_LINES:])
            self._on_lines(lines)

    def join(self) -> None:
        """Wait until everything is read. Raises OSError where it could not be written down."""
        self._thread.join()
        if self._error is not None:
            raise self._error
