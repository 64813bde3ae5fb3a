"""Gauges in words: what each is called on a page, and its readings with their unit."""

from __future__ import annotations

import re
from typing import NamedTuple

from clearsight.reports.wording import UNKNOWN

GIB, MIB = 2**30, 2**20


class Meter(NamedTuple):
    """What a gauge is called, and the unit that its readings have after division by `scale`."""

    called: str
    unit: str
    scale: float = 1.0


_HOST = {
    "cpu": Meter("cores (all programs)", "%"),
    "cpu.iowait": Meter("cores waiting for reading or writing", "%"),
    "cpu.clock": Meter("clock of the cores", "MHz"),
    "cpu.temperature": Meter("temperature of the processor", "°C"),
    "tree.cpu": Meter("cores (this job)", "%"),
    "tree.memory": Meter("memory of this job", "GiB", GIB),
    "tree.processes": Meter("processes of this job", ""),
    "tree.threads": Meter("threads of this job", ""),
    "tree.switches": Meter("threads pushed off their core", "/s"),
    "tree.read": Meter("read by this job", "MiB/s", MIB),
    "memory": Meter("memory in use", "%"),
    "memory.available": Meter("memory still available", "GiB", GIB),
    "swap": Meter("swap in use", "%"),
    "shm": Meter("shared memory in use", "%"),
    "disk.read": Meter("read from disks", "MiB/s", MIB),
    "disk.write": Meter("written to disks", "MiB/s", MIB),
    "disk.reads": Meter("reads from disks", "/s"),
    "disk.writes": Meter("writes to disks", "/s"),
    "net.received": Meter("received from the network", "MiB/s", MIB),
    "net.sent": Meter("sent to the network", "MiB/s", MIB),
}
_GPU = {
    "": Meter("", "%"),
    ".memory": Meter("memory in use", "%"),
    ".memory_bytes": Meter("memory in use", "GiB", GIB),
    ".power": Meter("power", "W"),
    ".clock": Meter("clock", "MHz"),
    ".temperature": Meter("temperature", "°C"),
    ".pcie_received": Meter("received over PCIe", "MiB/s", MIB),
    ".pcie_sent": Meter("sent over PCIe", "MiB/s", MIB),
}


def meter(name: str) -> Meter:
    """What is known of a gauge; one that nobody knows goes by its own name."""
    if known := _HOST.get(name):
        return known
    if match := re.fullmatch(r"cpu(\d+)", name):
        return Meter(f"core {match[1]}", "%")
    if (match := re.fullmatch(r"gpu(\d+)(\..+)?", name)) and (match[2] or "") in _GPU:
        known = _GPU[match[2] or ""]
        return known._replace(called=f"GPU {match[1]} {known.called}".rstrip())
    return Meter(name, "")


def cores(names: tuple[str, ...]) -> list[str]:
    """Of gauge names, those of single cores, by number."""
    return sorted((name for name in names if re.fullmatch(r"cpu\d+", name)), key=lambda name: int(name[3:]))


def reading(value: float | None, unit: str) -> str:
    """A reading with few digits and its unit: "43%", "3.21 GiB", "1,240 MHz"."""
    if value is None:
        return UNKNOWN
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 1 if abs(value) >= 10 else 2
    number = f"{value:,.{digits}f}"
    return f"{number}%" if unit == "%" else f"{number} {unit}".rstrip()
