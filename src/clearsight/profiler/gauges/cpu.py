"""Utilisation of each processor core, and the clock and temperature of the processor."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from clearsight.profiler.gauges.source import GaugeSource, ThrottledReading

_TICKS = 5  # of 10 ms each: shares of a shorter time are too coarse
_CLOCKS = 4  # cores whose clock is read: each read makes the driver query the hardware
# Drivers of processor temperature on Intel, AMD (two) and ARM. Other sensors measure disks, boards or wireless cards.
_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class CoreTimes(NamedTuple):
    """Ticks of a core since the machine started."""

    total: int
    idle: int
    iowait: int


class CpuGauges(GaugeSource):
    """Gauges cpu, cpu0, cpu1, ..., cpu.iowait since the sample before; cpu.clock and cpu.temperature every 5 s.

    They cover only cores that the process may use. A core that waits for I/O counts as idle. Time that a hypervisor
    gave to somebody else counts as busy: the process could not have it.
    Raises LookupError where no core is found.
    """

    def __init__(self, pid: int | None = None, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._cores = frozenset(allowed_cores(pid))
        self._stat = proc / "stat"
        if not self._times():
            raise LookupError(f"{self._stat} lists none of the cores that this process may use")
        self._before: dict[int, CoreTimes] = {}
        self._clock = ThrottledReading(lambda: _clock(sorted(self._cores), proc, sys))
        self._temperature = ThrottledReading(_temperature)

    def read(self) -> Mapping[str, float]:
        now, before = self._times(), self._before
        due = [n for n in now if n in before and now[n].total >= before[n].total + _TICKS]
        if due or not before:
            self._before = now  # a sample that comes too soon is empty, and the next one reaches back over it
        values: dict[str, float] = {}
        if ticks := {n: _difference(before[n], now[n]) for n in due}:
            total = sum(t.total for t in ticks.values())
            idle, iowait = sum(t.idle for t in ticks.values()), sum(t.iowait for t in ticks.values())
            values = {"cpu": 100 * (1 - (idle + iowait) / total), "cpu.iowait": 100 * iowait / total}
            values |= {f"cpu{n}": 100 * (1 - (t.idle + t.iowait) / t.total) for n, t in ticks.items()}
        return {**values, **self._clock.read(), **self._temperature.read()}

    def _times(self) -> dict[int, CoreTimes]:
        times = core_times(self._stat.read_text(encoding="ascii"))
        return {number: ticks for number, ticks in times.items() if number in self._cores}


def allowed_cores(pid: int | None = None) -> tuple[int, ...]:
    """Return the numbers of the cores that a process (None: this one) may run on, ascending.

    Raises ProcessLookupError where there is no such process.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux alone; macOS has no such call
        return tuple(sorted(os.sched_getaffinity(pid or 0)))
    return tuple(range(os.cpu_count() or 1))


def core_times(text: str) -> dict[int, CoreTimes]:
    """Return the ticks by number of the core, from the text of /proc/stat; other lines are left out.

    Source: proc_stat(5).
    """
    times: dict[int, CoreTimes] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"cpu(\d+)((?: +\d+){5,})\s*", line):
            ticks = [int(word) for word in match[2].split()]
            # The last two columns are the time of guests, which is part of the user's time and must not count twice.
            times[int(match[1])] = CoreTimes(sum(ticks[:8]), ticks[3], ticks[4])
    return times


def _difference(before: CoreTimes, now: CoreTimes) -> CoreTimes:
    # The kernel sometimes corrects idle and iowait backwards; a difference is never below 0.
    total = now.total - before.total
    idle = min(max(0, now.idle - before.idle), total)
    return CoreTimes(total, idle, min(max(0, now.iowait - before.iowait), total - idle))


def _clock(cores: Sequence[int], proc: Path, sys: Path) -> dict[str, float]:
    """Return the mean MHz of the first few cores, from the clock's driver, else from /proc/cpuinfo."""
    files = [sys / f"devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq" for number in cores[:_CLOCKS]]
    clocks = [int(path.read_text(encoding="ascii")) / 1000 for path in files if path.is_file()]
    if not clocks and (info := proc / "cpuinfo").is_file():
        text = info.read_text(encoding="utf-8", errors="replace")
        clocks = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)", text, flags=re.MULTILINE)]
    return {"cpu.clock": sum(clocks) / len(clocks)} if clocks else {}


def _temperature() -> dict[str, float]:
    """Return the hottest sensor of the processor, in degrees Celsius."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    degrees = [float(entry.current) for name in _SENSORS for entry in sensors.get(name, ()) if entry.current]
    return {"cpu.temperature": max(degrees)} if degrees else {}
