"""Disks: bytes and requests per second, of all drives together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.rates import Rates

_SECTOR = 512  # bytes, whatever the drive's own sectors are


class DiskGauges:
    """disk.read, disk.write: bytes per second. disk.reads, disk.writes: finished requests per second.

    Whole drives with hardware behind them are counted, so that what passes through a partition, a RAID or an encrypted
    volume is counted once. File systems of a network are no drives: `tree.read` sees those.
    """

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._file, self._rates = proc / "diskstats", Rates()
        told = disk_counters(self._file.read_text(encoding="ascii"))
        self._drives = frozenset(name for name in told if (sys / "block" / name / "device").exists())
        if not self._drives:
            raise LookupError("no drive is to be seen")

    def read(self) -> Mapping[str, float]:
        told = disk_counters(self._file.read_text(encoding="ascii"))
        drives = [counters for name, counters in told.items() if name in self._drives]
        return self._rates.since({name: sum(drive[name] for drive in drives) for name in drives[0]} if drives else {})

    def close(self) -> None:
        """Nothing is held."""


def disk_counters(text: str) -> dict[str, dict[str, int]]:
    """/proc/diskstats by device. Source: the kernel's Documentation/admin-guide/iostats.rst."""
    found: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 10 and all(word.isdecimal() for word in words[3:10]):
            reads, _, read, _, writes, _, written = (int(word) for word in words[3:10])
            found[words[2]] = {
                "disk.read": read * _SECTOR,
                "disk.write": written * _SECTOR,
                "disk.reads": reads,
                "disk.writes": writes,
            }
    return found
