"""Gauges of the machine: their titles, units and text, and their readings over the time of a job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Profile
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import Table, table

Floats = npt.NDArray[np.float64]
POINTS = 600  # of a line; more than the pixels of a chart show nothing new
_SHADES = 60  # with more shaded spans a chart would be grey all over
_ROWS = 24  # of the table behind a chart
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


class TimeSeries(NamedTuple):
    """Named gauge over time. times, values: (T,) each; times in the units of a TimeAxis."""

    name: str
    times: Floats
    values: Floats


class TimeAxis(NamedTuple):
    """Time of a job, from `start` (UNIX seconds), in units of `unit` seconds. title: of the axis."""

    start: float
    unit: float
    title: str

    @classmethod
    def of(cls, profile: Profile) -> TimeAxis:
        """Return an axis in seconds, minutes or hours, by the length of the job."""
        start, end = time_range(profile)
        for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
            if end - start > 3 * unit:  # below that the axis would have one or two labels
                return cls(start, unit, f"{name} since the start")
        return cls(start, 1.0, "seconds since the start")

    def convert(self, times: Floats) -> Floats:
        """Return UNIX seconds in the units of the axis."""
        return (times - self.start) / self.unit


def time_range(profile: Profile) -> tuple[float, float]:
    """Return when the first measurement began and the last one ended, in UNIX seconds; (0, 0) without any."""
    spans = [(step.start, step.start + step.seconds) for step in profile.step_times]
    spans += [(span.start, span.start + span.seconds) for span in profile.all_spans]
    spans += [(sample.time, sample.time) for sample in profile.gauge_samples]
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else (0.0, 0.0)


def downsampled(times: Floats, values: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """Return at most `points` points, each the mean of one of equal parts.

    Means are right here: a gauge is a mean since its last sample already.
    """
    if len(times) <= points:
        return times, values
    first = np.linspace(0, len(times), points + 1).astype(np.int64)
    sizes = np.diff(first)
    return np.add.reduceat(times, first[:-1]) / sizes, np.add.reduceat(values, first[:-1]) / sizes


def gauge_series(profile: Profile, name: str, axis: TimeAxis, rank: int = 0, points: int = POINTS) -> TimeSeries:
    """Return a gauge over time, in the unit of its label."""
    gauge, label = profile.gauge(name, rank), gauge_label(name)
    times, values = downsampled(axis.convert(gauge.times), gauge.values / label.scale, points)
    return TimeSeries(label.title, times, values)


def shaded_spans(profile: Profile, axis: TimeAxis, rank: int = 0) -> list[tuple[float, float]]:
    """Return start and end of the spans outside of training on an axis; none where they are more than 60."""
    spans = [span for span in profile.all_spans if span.rank == rank]
    if len(spans) > _SHADES:
        return []
    times = np.array([(span.start, span.start + span.seconds) for span in spans], np.float64).reshape(-1, 2)
    return [(float(start), float(end)) for start, end in axis.convert(times)]


def percentile_table(profile: Profile, names: Iterable[str], rank: int = 0) -> Table:
    """Return minimum, median, 95th and 99th percentile and maximum of each gauge during the training steps.

    Without training steps every sample counts.
    """
    rows = []
    for name in names:
        gauge = profile.gauge(name, rank)
        inside = profile.within(gauge, rank)
        values = (inside if len(inside) else gauge).values
        if not len(values):
            continue  # a gauge that never read a number
        label = gauge_label(name)
        percentiles = np.percentile(values, (0, 50, 95, 99, 100)) / label.scale
        rows.append((label.title, name, *(format_reading(float(value), label.unit) for value in percentiles)))
    columns = ("gauge", "name", "min", "p50", "p95", "p99", "max")
    return table("Readings while training ran", columns, "llrrrrr", rows)


def lines_table(caption: str, lines: Sequence[TimeSeries], unit: str, axis: TimeAxis) -> Table:
    """Return the lines of a chart in at most 24 rows of means."""
    reduced = [TimeSeries(line.name, *downsampled(line.times, line.values, _ROWS)) for line in lines]
    longest = max(reduced, key=lambda line: len(line.times))
    rows = [(f"{time:.4g}", *(_at(line, float(time), unit) for line in reduced)) for time in longest.times]
    columns = (axis.title.split()[0], *(line.name for line in reduced))
    return table(caption, columns, "r" * len(columns), rows)


def _at(line: TimeSeries, time: float, unit: str) -> str:
    """Return the reading nearest to a time: gauges are not all sampled at the same moments."""
    nearest = int(np.abs(line.times - time).argmin()) if len(line.times) else None
    return format_reading(None if nearest is None else float(line.values[nearest]), unit)
