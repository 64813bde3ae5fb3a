"""Memory limit that a control group (a container, a batch system) puts on a process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

# By version of control groups: file of the limit, file of the use, and the entry of memory.stat that can be dropped.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


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
        match = re.search(
            rf"^{inactive} (\d+)$", (self.folder / "memory.stat").read_text(encoding="ascii"), re.MULTILINE
        )
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
