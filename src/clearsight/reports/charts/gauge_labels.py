"""Titles and units of gauges on a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from clearsight.reports.kit.format import UNKNOWN

GIB, MIB = 2**30, 2**20


class GaugeLabel(NamedTuple):
    """Title of a gauge, and the unit that its readings have after division by `scale`."""

    title: str
    unit: str
    scale: float = 1.0


# Names are those of core.profile.GaugeSample. "this job" is the process with all its children.
_HOST = {
    "cpu": GaugeLabel("cores (all programs)", "%"),
    "cpu.iowait": GaugeLabel("cores waiting for I/O", "%"),
    "cpu.clock": GaugeLabel("clock of the cores", "MHz"),
    "cpu.temperature": GaugeLabel("temperature of the processor", "°C"),
    "tree.cpu": GaugeLabel("cores (this job)", "%"),
    "tree.memory": GaugeLabel("memory of this job", "GiB", GIB),
    "tree.processes": GaugeLabel("processes of this job", ""),
    "tree.threads": GaugeLabel("threads of this job", ""),
    "tree.switches": GaugeLabel("involuntary context switches", "/s"),
    "tree.read": GaugeLabel("read by this job", "MiB/s", MIB),
    "memory": GaugeLabel("memory in use", "%"),
    "memory.available": GaugeLabel("available memory", "GiB", GIB),
    "swap": GaugeLabel("swap in use", "%"),
    "shm": GaugeLabel("shared memory in use", "%"),
    "disk.read": GaugeLabel("read from disks", "MiB/s", MIB),
    "disk.write": GaugeLabel("written to disks", "MiB/s", MIB),
    "disk.reads": GaugeLabel("reads from disks", "/s"),
    "disk.writes": GaugeLabel("writes to disks", "/s"),
    "net.received": GaugeLabel("received from the network", "MiB/s", MIB),
    "net.sent": GaugeLabel("sent to the network", "MiB/s", MIB),
}
# By what follows "gpu0".
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
    """Return the label of a gauge. An unknown gauge, such as one of a plug-in, keeps its name and has no unit."""
    if label := _HOST.get(name):
        return label
    if match := re.fullmatch(r"cpu(\d+)", name):
        return GaugeLabel(f"core {match[1]}", "%")
    if (match := re.fullmatch(r"gpu(\d+)(\..+)?", name)) and (match[2] or "") in _GPU:
        label = _GPU[match[2] or ""]
        return label._replace(title=f"GPU {match[1]} {label.title}".rstrip())
    return GaugeLabel(name, "")


def core_gauges(names: Iterable[str]) -> list[str]:
    """Return the gauges of single cores, sorted by number: "cpu2" comes before "cpu10"."""
    return sorted((name for name in names if re.fullmatch(r"cpu\d+", name)), key=lambda name: int(name[3:]))


def format_reading(value: float | None, unit: str) -> str:
    """Return a reading with few digits and its unit: "43%", "3.21 GiB", "1,240 MHz"."""
    if value is None:
        return UNKNOWN
    # Three significant digits: more is below the accuracy of a gauge.
    digits = 0 if abs(value) >= 100 or float(value).is_integer() else 1 if abs(value) >= 10 else 2
    number = f"{value:,.{digits}f}"
    return f"{number}%" if unit == "%" else f"{number} {unit}".rstrip()
