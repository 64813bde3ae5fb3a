"""Tree: the process that trains and all its children, such as workers that read images."""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from clearsight.profiler.gauges.cores import allowed_cores

_PAGE, _TICK = os.sysconf("SC_PAGE_SIZE"), 1 / os.sysconf("SC_CLK_TCK")
_SHORTEST = 0.05  # seconds between looks, below which times counted in ticks of 10 ms are coarse


class ProcessSample(NamedTuple):
    """One look at one process: counters since it started, seconds and bytes, and what it holds now."""

    started: int  # ticks after the machine did: with it a number that was given to another process shows
    cpu: float
    read: int | None
    switches: int | None
    memory: int
    threads: int


class ProcessTreeGauges:
    """tree.cpu, tree.memory, tree.processes, tree.threads, tree.switches, tree.read of a process and its children.

    pid: the process, None for this one.  refresh: seconds between searches for children, the one costly thing here; a
    child is counted from the first search that finds it.
    tree.memory counts pages that processes share once for each of them.  tree.read: bytes per second that came from
    storage, a network's included, not from files that were in memory already.  tree.switches: of all threads of `pid`,
    and of the main thread of each child.
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
        self._look(self._root)

    def read(self) -> Mapping[str, float]:
        now = self._clock()
        if now >= self._due:
            self._members, self._due = self._search(), now + self._refresh
        looks: dict[int, ProcessSample] = {}
        for pid in self._members:
            try:
                looks[pid] = self._look(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended: nothing is amiss
        return {**_held(looks), **self._grown(looks, now)} if looks else {}

    def close(self) -> None:
        """Nothing is held."""

    def _search(self) -> tuple[int, ...]:
        try:
            return (self._root, *(child.pid for child in psutil.Process(self._root).children(recursive=True)))
        except psutil.NoSuchProcess:
            return ()

    def _grown(self, looks: Mapping[int, ProcessSample], now: float) -> dict[str, float]:
        """What is counted over time, since the look before, of the processes that were there then."""
        before, seconds = self._before, now - self._time
        if before and seconds < _SHORTEST:
            return {}
        self._time, self._before = now, dict(looks)
        pairs = [(before[p], look) for p, look in looks.items() if p in before and before[p].started == look.started]
        if not pairs:
            return {}
        cores = max(0.0, sum(look.cpu - then.cpu for then, look in pairs)) / seconds
        values = {"tree.cpu": min(100.0, 100 * cores / self._cores)}
        if (switches := _growth((then.switches, look.switches) for then, look in pairs)) is not None:
            values["tree.switches"] = switches / seconds
        if (read := _growth((then.read, look.read) for then, look in pairs)) is not None:
            values["tree.read"] = read / seconds
        return values

    def _look(self, pid: int) -> ProcessSample:
        folder = self._proc / str(pid)
        # The name stands in parentheses and may hold any character, parentheses and blanks too.
        words = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if words[0] in ("Z", "X"):
            raise ProcessLookupError(f"process {pid} has ended and waits to be noticed")
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
        """Involuntary context switches so far. Each thread counts its own; of itself a process can ask for the sum."""
        if pid == os.getpid():
            return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        folder = self._proc / str(pid)
        threads = (folder / "task").iterdir() if pid == self._root else [folder]
        told = [_number(thread / "status", "nonvoluntary_ctxt_switches") for thread in threads]
        return sum(count for count in told if count is not None) if any(count is not None for count in told) else None


def _held(looks: Mapping[int, ProcessSample]) -> dict[str, float]:
    return {
        "tree.memory": float(sum(look.memory for look in looks.values())),
        "tree.processes": float(len(looks)),
        "tree.threads": float(sum(look.threads for look in looks.values())),
    }


def _growth(counts: Iterable[tuple[int | None, int | None]]) -> int | None:
    """By how much counters grew, of (before, now) each; one that may not be read is left out, None where none may.

    A counter that fell lost what a thread that ended had counted: it grew by nothing that can be told.
    """
    known = [max(0, now - before) for before, now in counts if before is not None and now is not None]
    return sum(known) if known else None


def _number(file: Path, name: str) -> int | None:
    """A number out of a file of lines `name: number`; None where it may not be read or is not there."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    match = re.search(rf"^{name}:\s+([0-9]+)$", text, flags=re.MULTILINE)
    return int(match[1]) if match else None
