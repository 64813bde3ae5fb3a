"""StepLog: timed steps and spans of one process, in memory and in the spans file."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from clearsight.core.guard import Guard, guarded
from clearsight.core.profile import Span, StepTimes
from clearsight.core.profile_folder import span_line
from clearsight.profiler.timing.line_file import LineFile

_WRITE_EVERY = 1.0  # seconds
_WRITE_LINES = 200
_STRIDES = tuple(10**power for power in range(1, 10))


class StepLog:
    """Keeps timed steps and spans, and appends them to the file at `path`, None for no file.

    Lines are written at most every second or 200 lines, and by `close`.
    keep: with more steps than this, memory holds the newest half and every 10th (later 100th, ...) of those before. The
    file has all of them.
    Nothing raises: after an error of the file nothing more is written, and memory goes on.
    """

    def __init__(self, path: Path | None = None, *, keep: int = 100_000) -> None:
        self.steps: list[StepTimes] = []
        self.spans: list[Span] = []
        self.guard = Guard("the profiler's writing of step times", report=logging.getLogger(__name__).warning)
        self._file = None if path is None else LineFile(path)
        self._keep = keep
        # Formatted together when they are written: to format one by one takes several times as long.
        self._unwritten: list[StepTimes | Span] = []
        self._written_at = time.perf_counter()

    def add_step(self, times: StepTimes, now: float) -> None:
        """Keep a step. now: of time.perf_counter."""
        self.steps.append(times)
        if len(self.steps) > self._keep:
            self._thin()
        self._append(times, now)

    def add_span(self, span: Span, now: float) -> None:
        """Keep a span. now: of time.perf_counter."""
        self.spans.append(span)
        self._append(span, now)

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._file is not None:
            self.guard.run(self._write)
            self.guard.finish(self._file.close)

    @guarded
    def _append(self, record: StepTimes | Span, now: float) -> None:
        if self._file is None:
            return
        self._unwritten.append(record)
        if now - self._written_at >= _WRITE_EVERY or len(self._unwritten) >= _WRITE_LINES:
            self._write()
            self._written_at = now

    def _write(self) -> None:
        if self._file is not None and self._unwritten:
            lines, self._unwritten = "".join(map(span_line, self._unwritten)), []
            self._file.write(lines)

    def _thin(self) -> None:
        """Drop steps of before the newest half: all but every 10th, 100th, ... until a quarter of `keep` is free."""
        half = max(1, self._keep // 2)
        old, new = self.steps[:-half], self.steps[-half:]
        for stride in _STRIDES:
            old = [times for times in old if times.step % stride == 0]
            if len(old) <= half // 2:
                break
        self.steps[:] = [*old, *new]
