"""Memory in use, of the machine or of the container's limit; swap; and memory shared between processes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.memory_limit import MemoryLimit, memory_limit


class MemoryGauges:
    """Gauges memory, memory.available, swap, shm. A control group's limit below the machine's memory is 100 %.

    Available memory is what a process can get before anything is swapped or killed, cached files dropped included.
    """

    def __init__(self, pid: int | None = None, *, root: Path = Path("/")) -> None:
        self._file, self._shm = root / "proc/meminfo", root / "dev/shm"
        machine = self._meminfo()
        self._limit = tighter(memory_limit(pid, root=root), machine["MemTotal"])
        self._total = self._limit.bytes if self._limit else machine["MemTotal"]

    def read(self) -> Mapping[str, float]:
        machine = self._meminfo()
        available = machine["MemAvailable"]
        if self._limit is not None:
            available = max(0, min(available, self._limit.bytes - self._limit.used()))
        values = {"memory": 100 * (1 - available / self._total), "memory.available": float(available)}
        if machine.get("SwapTotal"):
            values["swap"] = 100 * (1 - machine["SwapFree"] / machine["SwapTotal"])
        # PyTorch's worker processes pass batches through /dev/shm, which containers often limit to 64 MiB.
        shared = os.statvfs(self._shm) if self._shm.is_dir() else None
        if shared is not None and shared.f_blocks:
            values["shm"] = 100 * (1 - shared.f_bavail / shared.f_blocks)
        return values

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _meminfo(self) -> dict[str, int]:
        return meminfo(self._file.read_text(encoding="ascii"))


def meminfo(text: str) -> dict[str, int]:
    """Return bytes by name, from the text of /proc/meminfo, without lines in other units.

    Source: proc_meminfo(5).
    """
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +([0-9]+) kB$", text, flags=re.MULTILINE)}


def tighter(limit: MemoryLimit | None, machine: int) -> MemoryLimit | None:
    """Return the limit if it is below `machine`, the machine's memory in bytes; else None."""
    return limit if limit is not None and 0 < limit.bytes < machine else None
