"""Gauges of the machine over time: devices and cores, memory, disk and network traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.format import several
from clearsight.core.profile import Profile
from clearsight.reports.charts import gauges
from clearsight.reports.charts.machine import time_lines, time_map
from clearsight.reports.kit.format import UNKNOWN
from clearsight.reports.kit.section import Panel, Table, table

_LINES = 4  # more gauges are easier to tell apart as rows of a map
_CELLS = 60_000  # of a map, so that a page of a machine with many cores stays small
_QUIET = {"%": 1.0, "MiB/s": 0.1}  # an optional gauge that never reaches this is not drawn
_SHADES = "Grey: initialisation, validation, checkpoints and other time outside of training steps."


def utilisation_panels(profile: Profile, rank: int = 0) -> list[Panel]:
    """Return the charts of the gauges that were read; none without samples."""
    names = profile.gauges(rank)
    if not names:
        return []
    charts = _GaugeCharts(profile, gauges.TimeAxis.of(profile), rank)
    gpus = [name for name in profile.devices(rank) if name.startswith("gpu")]
    # Both core gauges: their difference is what other programs use.
    devices = [*gpus[:_LINES], *(name for name in ("tree.cpu", "cpu") if name in names)]
    memory = ["tree.memory", *(f"{gpu}.memory_bytes" for gpu in gpus[:_LINES])]
    traffic = ["tree.read", "disk.read", "disk.write", "net.received", "net.sent"]
    return [
        *charts.lines("utilisation", "Utilisation", devices, optional=("cpu.iowait",)),
        *(charts.map("gpus", "Each GPU", gpus) if len(gpus) > _LINES else []),
        *charts.cores(gauges.core_gauges(names)),
        *charts.lines("memory", "Memory", [name for name in memory if name in names]),
        *charts.lines("traffic", "Disk and network traffic", [], optional=traffic),
    ]


def readings_table(profile: Profile, rank: int = 0) -> Table:
    """Return percentiles of every gauge; of single cores only where they are few."""
    names, cores = profile.gauges(rank), gauges.core_gauges(profile.gauges(rank))
    return gauges.percentile_table(profile, (name for name in names if name not in cores or len(cores) <= _LINES), rank)


def ranks_table(profile: Profile) -> Table:
    """Return the processes of a distributed run, a row each."""
    rows = []
    for rank in profile.ranks():
        steps = profile.steps(rank)
        # NaN is a step without a timed phase: it counts as no waiting.
        waiting = np.nansum(profile.phase("data", rank)) / max(float(steps.seconds.sum()), 1e-9)
        device = [profile.within(profile.gauge(name, rank), rank).values for name in profile.devices(rank)]
        busy = np.concatenate(device) if device else np.empty(0)
        rows.append(
            (
                rank,
                len(steps),
                f"{1000 * float(np.median(steps.seconds)):.1f}" if len(steps) else UNKNOWN,
                f"{waiting:.1%}" if len(steps) else UNKNOWN,
                f"{busy.mean():.0f}%" if len(busy) else UNKNOWN,
            )
        )
    columns = ("process", "timed steps", "ms per step (median)", "waiting for data", "device busy (mean)")
    return table("Processes of this job", columns, "rrrrr", rows)


@dataclass(frozen=True)
class _GaugeCharts:
    """Builder of the charts of one rank, on one time axis."""

    profile: Profile
    axis: gauges.TimeAxis
    rank: int

    def lines(self, key: str, title: str, names: Sequence[str], optional: Sequence[str] = ()) -> list[Panel]:
        """Return a chart with a line per gauge. optional: gauges drawn only where they reached a visible value."""
        loud = [name for name in optional if name in self.profile.gauges(self.rank) and self._is_loud(name)]
        shown = [*names, *loud]
        lines = self._series(shown)
        if not lines:
            return []
        unit = gauges.gauge_label(shown[0]).unit
        shades = gauges.shaded_spans(self.profile, self.axis, self.rank)
        means = ", ".join(f"{line.name} {line.values.mean():.3g}" for line in lines)
        # 102, so that a line at 100% is not cut in half by the edge of the chart.
        top = 102 if unit == "%" else None
        return [
            Panel(
                key=f"system-{key}",
                title=title,
                description=f"{title} over time in {unit}; means: {means}.",
                figure=time_lines(lines, unit=unit, clock=self.axis.title, top=top, shades=shades),
                table=gauges.lines_table(f"{title} over time", lines, unit, self.axis),
                note=_SHADES if shades else "",
                wide=key == "utilisation",
            )
        ]

    def map(self, key: str, title: str, names: Sequence[str]) -> list[Panel]:
        """Return a chart with a row per gauge in per cent, darker where it is higher."""
        lines = self._series(names, max(20, min(gauges.POINTS, _CELLS // len(names))))
        if not lines:
            return []
        times = max((line.times for line in lines), key=len)
        # Gauges are sampled at slightly different times; a heat map needs the same columns in every row.
        rows = [np.interp(times, line.times, line.values) for line in lines]
        means = [float(row.mean()) for row in rows]
        percentiles = [
            (line.name, *(f"{value:.0f}%" for value in (row.mean(), *np.percentile(row, (5, 50, 95)))))
            for line, row in zip(lines, rows, strict=True)
        ]
        columns = ("gauge", "mean", "p5", "p50", "p95")
        return [
            Panel(
                key=f"system-{key}",
                title=title,
                description=f"Utilisation of {several(len(names), 'row')} over time; means from {min(means):.0f}% to "
                f"{max(means):.0f}%.",
                figure=time_map([line.name for line in lines], times, np.array(rows), clock=self.axis.title),
                table=table(f"{title}, percentiles", columns, "lrrrr", percentiles),
                note="Darker is busier.",
                wide=len(names) > 4 * _LINES,
            )
        ]

    def cores(self, names: Sequence[str]) -> list[Panel]:
        """Return the chart of single cores; none for one core, which is the same as all cores together."""
        if len(names) < 2:
            return []
        return (self.lines if len(names) <= _LINES else self.map)("cores", "Each core", names)

    def _series(self, names: Sequence[str], points: int = gauges.POINTS) -> list[gauges.TimeSeries]:
        series = [gauges.gauge_series(self.profile, name, self.axis, self.rank, points) for name in names]
        return [line for line in series if len(line.times)]

    def _is_loud(self, name: str) -> bool:
        label, values = gauges.gauge_label(name), self.profile.gauge(name, self.rank).values
        return bool(len(values)) and float(values.max()) / label.scale >= _QUIET.get(label.unit, 0.0)
