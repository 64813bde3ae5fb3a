"""Memory in use, of the machine or of the limit that a control group, such as a container, puts on a process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from clearsight.profiler.gauges.source import GaugeSource

# By version of control groups: file of the limit, file of the use, and the entry of memory.stat that can be dropped.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


class MemoryGauges(GaugeSource):
    """Gauges memory, memory.available, swap, shm. A control group's limit below the machine's memory is 100 %.

    Available memory is what a process can get before anything is swapped or killed, cached files dropped included.
    """

    def __init__(self, pid: int | None = None, *, root: Path = Path("/")) -> None:
        self._file, self._shm = root / "proc/meminfo", root / "dev/shm"
        self._total, self._limit = memory_size(pid, root=root)

    def read(self) -> Mapping[str, float]:
        machine = meminfo(self._file.read_text(encoding="ascii"))
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


def meminfo(text: str) -> dict[str, int]:
    """Return bytes by name, from the text of /proc/meminfo, without lines in other units.

    Source: proc_meminfo(5).
    """
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +([0-9]+) kB$", text, flags=re.MULTILINE)}


def memory_size(pid: int | None = None, *, root: Path = Path("/")) -> tuple[int, MemoryLimit | None]:
    """Return the bytes that a process (None: this one) can use, and the limit if it is below the machine's memory."""
    total = meminfo((root / "proc/meminfo").read_text(encoding="ascii"))["MemTotal"]
    limit = tighter(memory_limit(pid, root=root), total)
    return (limit.bytes if limit else total), limit


def tighter(limit: MemoryLimit | None, machine: int) -> MemoryLimit | None:
    """Return the limit if it is below `machine`, the machine's memory in bytes; else None."""
    return limit if limit is not None and 0 < limit.bytes < machine else None


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Limit in bytes.  folder: of the group.  version: of control groups."""

    bytes: int
    folder: Path
    version: Literal[1, 2]

    def used(self) -> int:
        """Return the bytes in use, without cached files that the kernel drops when memory runs short."""
        _, usage, inactive = _FILES[self.version]
        used = int((self.folder / usage).read_text(encoding="ascii"))
        stat = (self.folder / "memory.stat").read_text(encoding="ascii")
        match = re.search(rf"^{inactive} (\d+)$", stat, re.MULTILINE)
        return max(0, used - (int(match[1]) if match else 0))


def memory_limit(pid: int | None = None, *, root: Path = Path("/")) -> MemoryLimit | None:
    """Return the tightest limit on a process (None: this one), of its group and those around it, or None."""
    listing = root / "proc" / (str(pid) if pid else "self") / "cgroup"
    if not listing.is_file():
        return None
    limits = [
        MemoryLimit(limit, folder, version)
        for version, path in memory_groups(listing.read_text(encoding="utf-8", errors="replace"))
        for folder in _group_folders(root / "sys/fs/cgroup", version, path)
        if (file := folder / _FILES[version][0]).is_file()
        and (limit := limit_of(file.read_text(encoding="ascii"))) is not None
    ]
    return min(limits, key=lambda limit: limit.bytes, default=None)


def memory_groups(text: str) -> list[tuple[Literal[1, 2], PurePosixPath]]:
    """Return the control groups of a process's memory as version and path, from the text of /proc/PID/cgroup.

    Source: cgroups(7): a line is `hierarchy:controllers:path`; hierarchy 0 without controllers is version 2.
    """
    groups: list[tuple[Literal[1, 2], PurePosixPath]] = []
    for line in text.split("\n"):
        hierarchy, first, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if first and second and path.startswith("/"):
            if "memory" in controllers.split(","):
                groups.append((1, PurePosixPath(path)))
            elif hierarchy == "0" and not controllers:
                groups.append((2, PurePosixPath(path)))
    return groups


def limit_of(text: str) -> int | None:
    """Return a limit in bytes; None for "max", and for what version 1 writes instead (2^63 minus a page)."""
    word = text.strip()
    return int(word) if re.fullmatch(r"[0-9]{1,20}", word) and int(word) < 1 << 62 else None


def _group_folders(mount: Path, version: int, path: PurePosixPath) -> Iterator[Path]:
    """Yield the folders of a group and of the groups around it, innermost first."""
    # A container often sees its own group as the root, while the listing names a path of the host with "..".
    parts = [part for part in path.parts[1:] if part != ".."]
    # "unified" is where systems that run both versions at once mount version 2.
    for top in (mount / "memory",) if version == 1 else (mount, mount / "unified"):
        yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))
