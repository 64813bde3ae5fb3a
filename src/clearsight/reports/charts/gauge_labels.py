"""Gauges in words: what each is called on a page, and its readings with their unit."""

from __future__ import annotations

import re
from typing import NamedTuple

from clearsight.reports.kit.format import UNKNOWN

GIB, MIB = 2**30, 2**20


class GaugeLabel(NamedTuple):
    """What a gauge is called, and the unit that its readings have after division by `scale`."""

    called: str
    unit: str
    scale: float = 1.0


_HOST = {
    "cpu": GaugeLabel("cores (all programs)", "%"),
    "cpu.iowait": GaugeLabel("cores waiting for reading or writing", "%"),
    "cpu.clock": GaugeLabel("clock of the cores", "MHz"),
    "cpu.temperature": GaugeLabel("temperature of the processor", "°C"),
    "tree.cpu": GaugeLabel("cores (this job)", "%"),
    "tree.memory": GaugeLabel("memory of this job", "GiB", GIB),
    "tree.processes": GaugeLabel("processes of this job", ""),
    "tree.threads": GaugeLabel("threads of this job", ""),
    "tree.switches": GaugeLabel("threads pushed off their core", "/s"),
    "tree.read": GaugeLabel("read by this job", "MiB/s", MIB),
    "memory": GaugeLabel("memory in use", "%"),
    "memory.available": GaugeLabel("memory still available", "GiB", GIB),
    "swap": GaugeLabel("swap in use", "%"),
    "shm": GaugeLabel("shared memory in use", "%"),
    "disk.read": GaugeLabel("read from disks", "MiB/s", MIB),
    "disk.write": GaugeLabel("written to disks", "MiB/s", MIB),
    "disk.reads": GaugeLabel("reads from disks", "/s"),
    "disk.writes": GaugeLabel("writes to disks", "/s"),
    "net.received": GaugeLabel("received from the network", "MiB/s", MIB),
    "net.sent": GaugeLabel("sent to the network", "MiB/s", MIB),
}
_GPU = {
    "": GaugeLabel("", "%"),
    ".memory": GaugeLabel("memory in use", "%"),
    ".memory_bytes": GaugeLabel("memory in use", "GiB", GIB),
    ".power": GaugeLabel("power", "W"),
    ".clock": GaugeLabel("clock", "MHz"),
    ".temperature": GaugeLabel("temperature", "°C"),
    ".pcie_received": GaugeLabel("received over PCIe", "MiB/s", MIB),
    ".pcie_sent": GaugeLabel("sent over PCIe", "MiB/s", MIB),
}


def gauge_label(name: str) -> GaugeLabel:
    """What is known of a gauge; one that nobody knows goes by its own name."""
    if known := _HOST.get(name):
        return known
    if match := re.fullmatch(r"cpu(\d+)", name):
        return GaugeLabel(f"core {match[1]}", "%")
    if (match := re.fullmatch(r"gpu(\d+)(\..+)?", name)) and (match[2] or "") in _GPU:
        known = _GPU[match[2] or ""]
        return known._replace(called=f"GPU {match[1]} {known.called}".rstrip())
    return GaugeLabel(name, "")


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
