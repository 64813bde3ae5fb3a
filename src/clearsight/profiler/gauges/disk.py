"""Bytes and requests per second of all drives together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clearsight.profiler.gauges.source import CounterRates, GaugeSource

_SECTOR = 512  # bytes: the unit of /proc/diskstats, whatever the sectors of the drive are


class DiskGauges(GaugeSource):
    """Gauges disk.read, disk.write: bytes per second. disk.reads, disk.writes: finished requests per second.

    Only whole drives with hardware behind them count, so that bytes through a partition, a RAID or an encrypted volume
    count once. Network file systems are not drives: `tree.read` includes them.
    Raises LookupError where there is no drive.
    """

    def __init__(self, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._file, self._rates = proc / "diskstats", CounterRates()
        counters = disk_counters(self._file.read_text(encoding="ascii"))
        self._drives = frozenset(name for name in counters if (sys / "block" / name / "device").exists())
        if not self._drives:
            raise LookupError(f"{self._file} lists no drive with hardware behind it")

    def read(self) -> Mapping[str, float]:
        counters = disk_counters(self._file.read_text(encoding="ascii"))
        # A drive that was unplugged is missing; a sum that falls by it gives no rate this time.
        drives = [drive for name, drive in counters.items() if name in self._drives]
        return self._rates.update({name: sum(drive[name] for drive in drives) for name in drives[0]} if drives else {})


def disk_counters(text: str) -> dict[str, dict[str, int]]:
    """Return the counters by device, from the text of /proc/diskstats.

    Source: the kernel's Documentation/admin-guide/iostats.rst.
    """
    counters: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 10 and all(word.isdecimal() for word in words[3:10]):
            reads, _, read, _, writes, _, written = (int(word) for word in words[3:10])
            counters[words[2]] = {
                "disk.read": read * _SECTOR,
                "disk.write": written * _SECTOR,
                "disk.reads": reads,
                "disk.writes": writes,
            }
    return counters
