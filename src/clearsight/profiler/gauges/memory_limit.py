"""MemoryLimit: what a control group (a container, a batch system) leaves a process of the machine's memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

_FILES = {  # by version of control groups: the limit, what is used, and the name of what can be given back
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """bytes: the limit.  folder: the group's.  version: of control groups."""

    bytes: int
    folder: Path
    version: Literal[1, 2]

    def used(self) -> int:
        """Bytes in use, without files in memory that are dropped when room is wanted."""
        _, usage, inactive = _FILES[self.version]
        used = int((self.folder / usage).read_text(encoding="ascii"))
        match = re.search(
            rf"^{inactive} (\d+)$", (self.folder / "memory.stat").read_text(encoding="ascii"), re.MULTILINE
        )
        return max(0, used - (int(match[1]) if match else 0))


def memory_limit(pid: int | None = None, *, root: Path = Path("/")) -> MemoryLimit | None:
    """The tightest limit over a process (None: this one), of its own group and those around it; None without any."""
    listing = root / "proc" / (str(pid) if pid else "self") / "cgroup"
    if not listing.is_file():
        return None
    limits = [
        MemoryLimit(limit, folder, version)
        for version, path in memory_groups(listing.read_text(encoding="utf-8", errors="replace"))
        for folder in _around(root / "sys/fs/cgroup", version, path)
        if (file := folder / _FILES[version][0]).is_file()
        and (limit := limit_of(file.read_text(encoding="ascii"))) is not None
    ]
    return min(limits, key=lambda limit: limit.bytes, default=None)


def memory_groups(text: str) -> list[tuple[Literal[1, 2], PurePosixPath]]:
    """Which control groups rule a process's memory, as version and path, out of /proc/PID/cgroup.

    Source: cgroups(7): a line is `hierarchy:controllers:path`; hierarchy 0 without controllers is version 2.
    """
    found: list[tuple[Literal[1, 2], PurePosixPath]] = []
    for line in text.split("\n"):
        hierarchy, first, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if first and second and path.startswith("/"):
            if "memory" in controllers.split(","):
                found.append((1, PurePosixPath(path)))
            elif hierarchy == "0" and not controllers:
                found.append((2, PurePosixPath(path)))
    return found


def limit_of(text: str) -> int | None:
    """A limit in bytes; None where it says "max", or where version 1 says so in numbers (2^63, less a page)."""
    word = text.strip()
    return int(word) if re.fullmatch(r"[0-9]{1,20}", word) and int(word) < 1 << 62 else None


def _around(mount: Path, version: int, path: PurePosixPath) -> Iterator[Path]:
    """Folders of a group and of those around it. A container often sees its own group as the topmost."""
    parts = [part for part in path.parts[1:] if part != ".."]
    for top in (mount / "memory",) if version == 1 else (mount, mount / "unified"):
        yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))
