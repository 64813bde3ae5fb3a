"""Sampler: reads the gauges of the machine at an even pace, on a thread of its own."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from clearsight.core.errors import BadValue
from clearsight.core.guard import Guard, failures
from clearsight.core.profile import GaugeSample
from clearsight.core.profile_folder import gauge_line, gauges_file
from clearsight.profiler.gauges import sources as sources_of_machine
from clearsight.profiler.gauges.source import GaugeSource
from clearsight.profiler.timing.line_file import LineFile

_log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.1, 60.0  # seconds between samples
_MAX_SAMPLES = 20_000  # in memory: 2.8 hours at two a second
_PATIENCE = 10.0  # seconds that `stop` waits for a source that hangs, such as a GPU driver


class Sampler:
    """Samples the gauges every `every` seconds, first at once and last when it is stopped.

    folder: the profile folder, to whose gauges file every sample is appended at once; None keeps them in memory only.
    every: seconds in [0.1, 60]; deadlines do not drift, and missed ones are skipped.  rank: written with each sample.
    pid: the process that trains, None for this one.  sources: None for all that this machine has, found on the thread,
    because a GPU's driver may take a second to start.  Raises BadValue for an interval out of range.

    Nothing raises after that: a source that fails is off from then on, a file that cannot be written ends, and
    `failure` says so.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        every: float = 0.5,
        rank: int = 0,
        pid: int | None = None,
        sources: Sequence[GaugeSource] | None = None,
    ) -> None:
        self.guard = Guard("the profiler's sampling of gauges", report=_log.warning)
        self._file_guard = Guard("the profiler's writing of gauges", report=_log.warning)
        self._file = None if folder is None else LineFile(gauges_file(folder, rank))
        self._every, self._rank, self._pid = _checked(every), rank, pid
        self._sources = None if sources is None else [_GuardedSource(source) for source in sources]
        self._samples: list[GaugeSample] = []
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def samples(self) -> list[GaugeSample]:
        """The samples so far. Whenever there are over 20,000, every second one of the older half is dropped."""
        return list(self._samples)

    @property
    def failure(self) -> str:
        """The parts that are off and why, "" where all work."""
        return failures([self.guard, self._file_guard, *(source.guard for source in self._sources or ())])

    @property
    def every(self) -> float:
        """Seconds between samples."""
        return self._every

    def start(self) -> None:
        """Begin to sample. A second call does nothing."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="clearsight-sampler", daemon=True)
            self.guard.run(thread.start)
            self._thread = None if self.guard.off else thread

    def stop(self) -> None:
        """Take a last sample and end for good. Waits for the thread, 10 s at most."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            if self._thread.is_alive():
                self.guard.fail(TimeoutError(f"a gauge took longer than {_PATIENCE:g} s to read"))

    def set_every(self, seconds: float) -> None:
        """Change the interval from now on. Raises BadValue outside of [0.1, 60]."""
        self._every = _checked(seconds)
        self._wake.set()

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        self.guard.run(self._sample_until_stopped)
        for source in self._sources or ():
            source.close()
        if self._file is not None:
            self._file_guard.finish(self._file.close)

    def _sample_until_stopped(self) -> None:
        if self._sources is None:
            self._sources = [_GuardedSource(source) for source in sources_of_machine(self._pid)]
        # UNIX seconds that never jump, whoever sets the machine's clock meanwhile.
        start, clock = time.time(), time.perf_counter()
        due = clock
        while True:
            self._sample(start + time.perf_counter() - clock, self._sources)
            if self._stopping:
                return
            due = self._wait(due)

    def _wait(self, due: float) -> float:
        """Wait for the deadline after the one at `due`, or for `stop`. Return when that deadline was due."""
        every = self._every
        # Deadlines that passed during a slow sample are skipped: a burst of samples would measure nothing new.
        following = due + every * max(1, math.ceil((time.perf_counter() - due) / every))
        while not self._stopping and (left := following - time.perf_counter()) > 0:
            self._wake.wait(left)
            self._wake.clear()
            if self._every != every:  # changed by `set_every`
                every = self._every
                following = due + every
        return following

    def _sample(self, moment: float, sources: Sequence[_GuardedSource]) -> None:
        values: dict[str, float] = {}
        for source in sources:
            values |= source.read()
        sample = GaugeSample(time=moment, values=values, rank=self._rank)
        if len(self._samples) >= _MAX_SAMPLES:
            half = len(self._samples) // 2
            # A new list, because another thread may be reading the old one.
            self._samples = [*self._samples[:half:2], *self._samples[half:]]
        self._samples.append(sample)
        if self._file is not None:
            self._file_guard.run(self._file.write, gauge_line(sample))


class _GuardedSource:
    """A source that is closed and left out after its first error."""

    def __init__(self, source: GaugeSource) -> None:
        self.guard = Guard(f"the gauge source {type(source).__name__}", report=_log.warning)
        self._source = source

    def read(self) -> dict[str, float]:
        """Return the finite values, {} after an error."""
        if self.guard.off:
            return {}
        values = self.guard.run_or({}, self._finite_values)
        if self.guard.off:
            self.guard.finish(self._source.close)
        return values

    def close(self) -> None:
        """Close the source, unless an error has closed it."""
        if not self.guard.off:
            self.guard.finish(self._source.close)

    def _finite_values(self) -> dict[str, float]:
        return {name: value for name, value in self._source.read().items() if math.isfinite(value)}


def _checked(every: float) -> float:
    if not _SHORTEST <= every <= _LONGEST:
        raise BadValue(f"a gauge sample every {every:g} s", f"the interval must be {_SHORTEST:g} to {_LONGEST:g} s")
    return float(every)
