"""Sampler: looks at the machine at an even pace, on a thread of its own."""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from clearsight.core.errors import BadValue
from clearsight.core.profile import GaugeSample
from clearsight.core.profile_folder import gauge_line, gauges_file
from clearsight.profiler.gauges import sources as sources_here
from clearsight.profiler.gauges.source import GaugeSource

_log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.1, 60.0  # seconds between looks
_KEPT = 20_000  # looks in memory: 2.8 hours at two a second
_PATIENCE = 10.0  # seconds that a source may hang before `stop` goes on without it


class Sampler:
    """Looks at the machine every `every` seconds, the first time at once, the last time when it is stopped.

    path: the profile folder, to whose gauges file every look is appended at once; None keeps looks in memory only.
    every: seconds in [0.1, 60]; deadlines do not drift, and those that were missed are left out.  rank: written with
    each look.  pid: the process that trains, None for this one.  sources: what is read, None for all this machine has
    (found on the thread: a GPU's driver may take a second to answer).  Raises BadValue for an interval out of range.

    Nothing raises after that: a source that fails is left out from then on, a file that cannot be written ends, and
    `failure` says so.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        every: float = 0.5,
        rank: int = 0,
        pid: int | None = None,
        sources: Sequence[GaugeSource] | None = None,
    ) -> None:
        self._every = _checked(every)
        self._path, self._rank, self._pid = path, rank, pid
        self._given, self._sources = sources, list[GaugeSource]()
        self._looks: list[GaugeSample] = []
        self._failures: list[str] = []
        self._file: int | None = None
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def looks(self) -> list[GaugeSample]:
        """The looks so far. Over 20,000 every second one of the older half is dropped, again and again."""
        return list(self._looks)

    @property
    def failure(self) -> str:
        """What went wrong, "" where nothing did."""
        return "; ".join(self._failures)

    @property
    def every(self) -> float:
        """Seconds between looks."""
        return self._every

    def start(self) -> None:
        """Begin; once begun, nothing more."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="clearsight-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Take a last look and end; it cannot be started again. Waits for the thread, 10 s at most."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                self._fail("the gauges did not answer in time and were left behind")

    def set_every(self, seconds: float) -> None:
        """Look at another pace from now on; raises BadValue outside of [0.1, 60]."""
        self._every = _checked(seconds)
        self._wake.set()

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._sources = list(sources_here(self._pid) if self._given is None else self._given)
            self._file = self._opened()
            self._keep_looking()
        except Exception as error:  # the one place where measuring ends and training does not
            self._fail(f"looking at the machine ended: {_told(error)}")
        finally:
            self._close()

    def _keep_looking(self) -> None:
        began, clock = time.time(), time.perf_counter()
        due = clock
        while True:
            self._look(began + time.perf_counter() - clock)
            if self._stopping:
                return
            due = self._wait(due)

    def _wait(self, due: float) -> float:
        """Wait for the beat that follows the one at `due`, or for `stop`; returns when that beat was due."""
        every = self._every
        # Beats that went by during a slow look are left out: a burst of looks would tell nothing.
        following = due + every * max(1, math.ceil((time.perf_counter() - due) / every))
        while not self._stopping and (left := following - time.perf_counter()) > 0:
            self._wake.wait(left)
            self._wake.clear()
            if self._every != every:
                every = self._every
                following = due + every
        return following

    def _look(self, at: float) -> None:
        values: dict[str, float] = {}
        for source in list(self._sources):
            values |= self._read(source)
        gauge = GaugeSample(time=at, values=values, rank=self._rank)
        if len(self._looks) >= _KEPT:
            half = len(self._looks) // 2  # a new list: who reads the old one meanwhile is not disturbed
            self._looks = [*self._looks[:half:2], *self._looks[half:]]
        self._looks.append(gauge)
        self._write(gauge)

    def _read(self, source: GaugeSource) -> dict[str, float]:
        try:
            return {name: value for name, value in source.read().items() if math.isfinite(value)}
        except Exception as error:
            self._sources.remove(source)
            self._fail(f"{type(source).__name__} is left out of the gauges: {_told(error)}")
            self._let_go(source)
            return {}

    def _write(self, gauge: GaugeSample) -> None:
        if self._file is None:
            return
        line = gauge_line(gauge).encode("ascii")
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._fail(f"the gauges are no longer written: {_told(error)}")
            self._end_file()

    def _opened(self) -> int | None:
        """The file to append to, unbuffered, so that a look is on its way to the disk whole or not at all."""
        if self._path is None:
            return None
        path = gauges_file(self._path, self._rank)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            _drop_torn_line(file)
        except OSError as error:
            self._fail(f"the gauges are not written: {_told(error)}")
            return None
        return file

    def _close(self) -> None:
        for source in self._sources:
            self._let_go(source)
        self._end_file()

    def _let_go(self, source: GaugeSource) -> None:
        try:
            source.close()
        except Exception as error:
            self._fail(f"{type(source).__name__} did not close: {_told(error)}")

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _fail(self, sentence: str) -> None:
        self._failures.append(sentence)
        _log.warning("profiler: %s", sentence)


def _checked(every: float) -> float:
    if not _SHORTEST <= every <= _LONGEST:
        raise BadValue(f"a look every {every:g} s", f"looks are {_SHORTEST:g} to {_LONGEST:g} s apart")
    return float(every)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _drop_torn_line(file: int) -> None:
    """Cut off the unfinished last line that a kill or a full disk left, so that what follows begins on a line."""
    told = os.fstat(file)
    end = told.st_size
    if not stat.S_ISREG(told.st_mode):
        return
    while end and os.pread(file, 1, end - 1) != b"\n":
        end -= 1
    if end < told.st_size:
        os.ftruncate(file, end)
