"""Gauges of the process that trains and all its children, such as loader workers."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from clearsight.profiler.gauges.cpu import allowed_cores
from clearsight.profiler.gauges.source import GaugeSource

_PAGE, _TICK = os.sysconf("SC_PAGE_SIZE"), 1 / os.sysconf("SC_CLK_TCK")
_SHORTEST = 0.05  # seconds between samples: over less time, processor times in ticks of 10 ms are too coarse


class ProcessSample(NamedTuple):
    """Sample of one process: counters since it started, in seconds and bytes, and its memory and threads now."""

    started: int  # ticks after the machine: tells processes apart that got the same number one after the other
    cpu: float
    read: int | None
    switches: int | None
    memory: int
    threads: int


class ProcessTreeGauges(GaugeSource):
    """Gauges of a process and its children: tree.cpu, .memory, .processes, .threads, .switches and .read.

    pid: the process, None for this one.  refresh: seconds between searches for children, the one expensive step here;
    a child counts from the first search that finds it.
    tree.memory counts pages that processes share once for each of them.  tree.read: bytes per second from storage,
    network storage included, without what came from the cache in memory.  tree.switches: of all threads of `pid`, and
    of the main thread of each child.
    """

    def __init__(
        self,
        pid: int | None = None,
        *,
        refresh: float = 3.0,
        clock: Callable[[], float] = time.perf_counter,
        proc: Path = Path("/proc"),
    ) -> None:
        self._root, self._refresh, self._clock, self._proc = pid or os.getpid(), refresh, clock, proc
        self._cores = len(allowed_cores(self._root))
        self._members: tuple[int, ...] = (self._root,)
        self._due = -float("inf")
        self._time, self._before = 0.0, dict[int, ProcessSample]()
        self._sample(self._root)  # raises where there is no such process

    def read(self) -> Mapping[str, float]:
        now = self._clock()
        if now >= self._due:
            self._members, self._due = self._search(), now + self._refresh
        samples: dict[int, ProcessSample] = {}
        for pid in self._members:
            try:
                samples[pid] = self._sample(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended since the last search, as loader workers do after each epoch
        if not samples:
            return {}
        totals = {
            "tree.memory": float(sum(sample.memory for sample in samples.values())),
            "tree.processes": float(len(samples)),
            "tree.threads": float(sum(sample.threads for sample in samples.values())),
        }
        return {**totals, **self._rates(samples, now)}

    def _search(self) -> tuple[int, ...]:
        try:
            return (self._root, *(child.pid for child in psutil.Process(self._root).children(recursive=True)))
        except psutil.NoSuchProcess:
            return ()

    def _rates(self, samples: Mapping[int, ProcessSample], now: float) -> dict[str, float]:
        """Return the gauges over time, since the sample before, of the processes that were there then."""
        before, seconds = self._before, now - self._time
        if before and seconds < _SHORTEST:
            return {}
        self._time, self._before = now, dict(samples)
        pairs = [(before[p], s) for p, s in samples.items() if p in before and before[p].started == s.started]
        if not pairs:
            return {}
        cores = max(0.0, sum(sample.cpu - then.cpu for then, sample in pairs)) / seconds
        values = {"tree.cpu": min(100.0, 100 * cores / self._cores)}
        if (switches := _growth((then.switches, sample.switches) for then, sample in pairs)) is not None:
            values["tree.switches"] = switches / seconds
        if (read := _growth((then.read, sample.read) for then, sample in pairs)) is not None:
            values["tree.read"] = read / seconds
        return values

    def _sample(self, pid: int) -> ProcessSample:
        folder = self._proc / str(pid)
        # The second field is the name in parentheses, which may contain any character, parentheses and blanks too.
        # The fields after it are those of proc_pid_stat(5) from the third on: state, parent, ...
        words = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if words[0] in ("Z", "X"):  # a zombie still has a folder in /proc until its parent waits for it
            raise ProcessLookupError(f"process {pid} has ended")
        cpu = (int(words[11]) + int(words[12])) * _TICK
        return ProcessSample(
            started=int(words[19]),
            cpu=cpu,
            read=_number(folder / "io", "read_bytes"),
            switches=self._switches(pid),
            memory=int(words[21]) * _PAGE,
            threads=int(words[17]),
        )

    def _switches(self, pid: int) -> int | None:
        """Return the involuntary context switches so far, None where they may not be read.

        Each thread counts its own. A process can query the sum of its own threads, ended ones included, in one call.
        """
        if pid == os.getpid():
            return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        folder = self._proc / str(pid)
        # Of children the main thread alone: a loader worker has one thread that matters, and each costs a file.
        threads = (folder / "task").iterdir() if pid == self._root else [folder]
        counts = [_number(thread / "status", "nonvoluntary_ctxt_switches") for thread in threads]
        readable = [count for count in counts if count is not None]
        return sum(readable) if readable else None


def _growth(counts: Iterable[tuple[int | None, int | None]]) -> int | None:
    """Return the sum of the growth of counters, each (before, now); None where no counter is readable.

    A counter that fell counts as no growth: it lost the share of a thread that ended.
    """
    known = [max(0, now - before) for before, now in counts if before is not None and now is not None]
    return sum(known) if known else None


def _number(file: Path, name: str) -> int | None:
    """Return a number from a file of lines `name: number`; None where the file is not readable or lacks the name."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    match = re.search(rf"^{name}:\s+([0-9]+)$", text, flags=re.MULTILINE)
    return int(match[1]) if match else None
