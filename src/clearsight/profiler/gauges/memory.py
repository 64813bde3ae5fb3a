"""Memory: what is in use, of the machine or of what a container leaves; swap; and memory shared between processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.memory_limit import MemoryLimit, memory_limit


class MemoryGauges:
    """memory, memory.available, swap, shm. Where a control group allows less than the machine has, that is the whole.

    What is available is what can be had before anything is swapped or killed, files in memory given up included.
    """

    def __init__(self, pid: int | None = None, *, root: Path = Path("/")) -> None:
        self._meminfo, self._shm = root / "proc/meminfo", root / "dev/shm"
        machine = self._machine()
        self._limit = tighter(memory_limit(pid, root=root), machine["MemTotal"])
        self._total = self._limit.bytes if self._limit else machine["MemTotal"]

    def read(self) -> Mapping[str, float]:
        machine = self._machine()
        available = machine["MemAvailable"]
        if self._limit is not None:
            available = max(0, min(available, self._limit.bytes - self._limit.used()))
        values = {"memory": 100 * (1 - available / self._total), "memory.available": float(available)}
        if machine.get("SwapTotal"):
            values["swap"] = 100 * (1 - machine["SwapFree"] / machine["SwapTotal"])
        shared = os.statvfs(self._shm) if self._shm.is_dir() else None
        if shared is not None and shared.f_blocks:
            values["shm"] = 100 * (1 - shared.f_bavail / shared.f_blocks)
        return values

    def close(self) -> None:
        """Nothing is held."""

    def _machine(self) -> dict[str, int]:
        return meminfo(self._meminfo.read_text(encoding="ascii"))


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes by name; lines that are no amount are left out. Source: proc_meminfo(5)."""
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +([0-9]+) kB$", text, flags=re.MULTILINE)}


def tighter(limit: MemoryLimit | None, machine: int) -> MemoryLimit | None:
    """The limit where it is less than the machine has, else None. machine: bytes."""
    return limit if limit is not None and 0 < limit.bytes < machine else None
