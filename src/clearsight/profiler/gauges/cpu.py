"""The processor: how busy each core is, its clock and its temperature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from clearsight.profiler.gauges.cores import allowed_cores
from clearsight.profiler.gauges.throttle import ThrottledReading

_TICKS = 5  # of 10 ms: shares of less time than this are coarse
_CLOCKS = 4  # cores whose clock is asked for: each costs a question to the hardware
_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class CoreTimes(NamedTuple):
    """What a core did since the machine started, in ticks."""

    total: int
    idle: int
    iowait: int


class CpuGauges:
    """cpu, cpu0, cpu1, ..., cpu.iowait: over the time since the look before. cpu.clock, cpu.temperature: every 5 s.

    Only cores that the process may use are told. A core that waits for I/O counts as idle. Time that a hypervisor took
    away counts as busy: it was not to be had.
    """

    def __init__(self, pid: int | None = None, *, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._cores = frozenset(allowed_cores(pid))
        self._stat = proc / "stat"
        if not self._times():
            raise LookupError("no core is to be seen")
        self._before: dict[int, CoreTimes] = {}
        self._clock = ThrottledReading(lambda: _clock(sorted(self._cores), proc, sys))
        self._temperature = ThrottledReading(_temperature)

    def read(self) -> Mapping[str, float]:
        now, before = self._times(), self._before
        ripe = [n for n in now if n in before and now[n].total >= before[n].total + _TICKS]
        if ripe or not before:
            self._before = now  # too soon after the look before nothing is told, and the next one reaches back further
        values: dict[str, float] = {}
        if spent := {n: _spent(before[n], now[n]) for n in ripe}:
            total = sum(times.total for times in spent.values())
            idle, iowait = sum(t.idle for t in spent.values()), sum(t.iowait for t in spent.values())
            values = {"cpu": 100 * (1 - (idle + iowait) / total), "cpu.iowait": 100 * iowait / total}
            values |= {f"cpu{n}": 100 * (1 - (t.idle + t.iowait) / t.total) for n, t in spent.items()}
        return {**values, **self._clock.read(), **self._temperature.read()}

    def close(self) -> None:
        """Nothing is held."""

    def _times(self) -> dict[int, CoreTimes]:
        times = core_times(self._stat.read_text(encoding="ascii"))
        return {number: spent for number, spent in times.items() if number in self._cores}


def core_times(text: str) -> dict[int, CoreTimes]:
    """/proc/stat by number of the core; lines that speak of anything else are left out.

    Source: proc_stat(5). The guests' time is part of the user's and is not counted twice.
    """
    found: dict[int, CoreTimes] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"cpu(\d+)((?: +\d+){5,})\s*", line):
            ticks = [int(word) for word in match[2].split()]
            found[int(match[1])] = CoreTimes(sum(ticks[:8]), ticks[3], ticks[4])
    return found


def _spent(before: CoreTimes, now: CoreTimes) -> CoreTimes:
    # The kernel corrects idle and iowait backwards at times; neither is ever less than nothing.
    total = now.total - before.total
    idle = min(max(0, now.idle - before.idle), total)
    return CoreTimes(total, idle, min(max(0, now.iowait - before.iowait), total - idle))


def _clock(cores: Sequence[int], proc: Path, sys: Path) -> dict[str, float]:
    """Mean MHz of the first few cores: as the driver of the clock says, else as /proc/cpuinfo does."""
    files = [sys / f"devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq" for number in cores[:_CLOCKS]]
    clocks = [int(path.read_text(encoding="ascii")) / 1000 for path in files if path.is_file()]
    if not clocks and (info := proc / "cpuinfo").is_file():
        text = info.read_text(encoding="utf-8", errors="replace")
        clocks = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)", text, flags=re.MULTILINE)]
    return {"cpu.clock": sum(clocks) / len(clocks)} if clocks else {}


def _temperature() -> dict[str, float]:
    """The hottest sensor of the processor, in degrees Celsius."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    told = [float(one.current) for name in _SENSORS for one in sensors.get(name, ()) if one.current]
    return {"cpu.temperature": max(told)} if told else {}
