"""What the machine did over time: its devices and cores, memory, and what was read and sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearsight.core.profile import Profile
from clearsight.reports.charts.gauge_labels import cores, gauge_label
from clearsight.reports.charts.machine import time_lines, time_map
from clearsight.reports.charts.timeline import TimeAxis, line, line_table, percentiles, shades
from clearsight.reports.kit.format import UNKNOWN, several
from clearsight.reports.kit.section import Panel, Table, table

_LINES = 4  # more lines than these are told apart better as rows of a map
_CELLS = 60_000  # of a map, so that many cores keep the page light
_QUIET = {"%": 1.0, "MiB/s": 0.1}  # a side line that never gets over this says nothing
_GREY = "Grey: what is no training step (initialisation, validation, checkpoints)."


def utilisation_panels(profile: Profile, rank: int = 0) -> list[Panel]:
    """The charts of the gauges that were read; none where nobody looked."""
    if not profile.gauges(rank):
        return []
    clock, names = TimeAxis.of(profile), profile.gauges(rank)
    gpus = [name for name in profile.devices(rank) if name.startswith("gpu")]
    single = cores(names)
    busy = [*gpus[:_LINES], *(name for name in ("tree.cpu", "cpu") if name in names)]
    memory = ["tree.memory", *(f"{gpu}.memory_bytes" for gpu in gpus[:_LINES])]
    traffic = ["tree.read", "disk.read", "disk.write", "net.received", "net.sent"]
    return [
        *_drawn(profile, "utilisation", "Utilisation", busy, clock, rank, also=("cpu.iowait",)),
        *(_mapped(profile, "gpus", "Each GPU", gpus, clock, rank) if len(gpus) > _LINES else []),
        *_each_core(profile, single, clock, rank),
        *_drawn(profile, "memory", "Memory", [name for name in memory if name in names], clock, rank),
        *_drawn(profile, "traffic", "Reading and sending", [], clock, rank, also=traffic),
    ]


def readings_table(profile: Profile, rank: int = 0) -> Table:
    """Percentiles of every gauge; of single cores only where they are few."""
    names, single = profile.gauges(rank), cores(profile.gauges(rank))
    return percentiles(profile, (name for name in names if name not in single or len(single) <= _LINES), rank)


def ranks_table(profile: Profile) -> Table:
    """The processes of a distributed run beside each other."""
    rows = []
    for rank in profile.ranks():
        steps = profile.steps(rank)
        waited = np.nansum(profile.phase("data", rank)) / max(float(steps.seconds.sum()), 1e-9)
        device = [profile.within(profile.gauge(name, rank), rank).values for name in profile.devices(rank)]
        busy = np.concatenate(device) if device else np.empty(0)
        rows.append(
            (
                rank,
                len(steps),
                f"{1000 * float(np.median(steps.seconds)):.1f}" if len(steps) else UNKNOWN,
                f"{waited:.1%}" if len(steps) else UNKNOWN,
                f"{busy.mean():.0f}%" if len(busy) else UNKNOWN,
            )
        )
    columns = ("process", "timed steps", "ms per step (median)", "waiting for data", "device busy (mean)")
    return table("Processes of this job", columns, "rrrrr", rows)


def _drawn(
    profile: Profile, key: str, title: str, names: Sequence[str], clock: TimeAxis, rank: int, also: Sequence[str] = ()
) -> list[Panel]:
    """also: gauges that are drawn only where they ever showed something."""
    loud = [name for name in also if name in profile.gauges(rank) and _loud(profile, name, rank)]
    wanted = [*names, *loud]
    lines = [one for name in wanted if len((one := line(profile, name, clock, rank)).times)]
    if not lines:
        return []
    unit = gauge_label(wanted[0]).unit
    grey = shades(profile, clock, rank)
    means = ", ".join(f"{one.name} {one.values.mean():.3g}" for one in lines)
    return [
        Panel(
            key=f"system-{key}",
            title=title,
            says=f"{title} over time in {unit}; means: {means}.",
            figure=time_lines(lines, unit=unit, clock=clock.called, top=102 if unit == "%" else None, shades=grey),
            table=line_table(f"{title} over time", lines, unit, clock),
            note=_GREY if grey else "",
            wide=key == "utilisation",
        )
    ]


def _each_core(profile: Profile, single: Sequence[str], clock: TimeAxis, rank: int) -> list[Panel]:
    if len(single) < 2:
        return []
    if len(single) <= _LINES:
        return _drawn(profile, "cores", "Each core", single, clock, rank)
    return _mapped(profile, "cores", "Each core", single, clock, rank)


def _mapped(profile: Profile, key: str, title: str, names: Sequence[str], clock: TimeAxis, rank: int) -> list[Panel]:
    points = max(20, min(600, _CELLS // len(names)))
    lines = [one for name in names if len((one := line(profile, name, clock, rank, points)).times)]
    if not lines:
        return []
    times = max((one.times for one in lines), key=len)
    rows = [np.interp(times, one.times, one.values) for one in lines]
    means = [float(row.mean()) for row in rows]
    return [
        Panel(
            key=f"system-{key}",
            title=title,
            says=f"Utilisation of {several(len(names), 'row')} over time; means from {min(means):.0f}% to "
            f"{max(means):.0f}%.",
            figure=time_map([one.name for one in lines], times, np.array(rows), clock=clock.called),
            table=table(
                f"{title}, percentiles", *_spread([(one.name, row) for one, row in zip(lines, rows, strict=True)])
            ),
            note="The darker, the busier.",
            wide=len(names) > 4 * _LINES,
        )
    ]


def _spread(rows: Sequence[tuple[str, np.ndarray]]) -> tuple[tuple[str, ...], str, list[tuple[str, ...]]]:
    columns = ("what", "mean", "p5", "p50", "p95")
    told = [(name, *(f"{v:.0f}%" for v in (row.mean(), *np.percentile(row, (5, 50, 95))))) for name, row in rows]
    return columns, "lrrrr", told


def _loud(profile: Profile, name: str, rank: int) -> bool:
    known, values = gauge_label(name), profile.gauge(name, rank).values
    return bool(len(values)) and float(values.max()) / known.scale >= _QUIET.get(known.unit, 0.0)
