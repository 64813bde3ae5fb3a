"""Readings of gauges over the time of a job, as charts and tables take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Profile
from clearsight.reports.charts.gauge_labels import gauge_label, reading
from clearsight.reports.kit.section import Table, table

Floats = npt.NDArray[np.float64]
POINTS = 600
_SHADES = 60


class TimeSeries(NamedTuple):
    """A named reading over time, (T,) each; times in the units of a Clock."""

    name: str
    times: Floats
    values: Floats


class TimeAxis(NamedTuple):
    """How a page counts the time of a job: from `start` (UNIX seconds) in units of `unit` seconds, called `called`."""

    start: float
    unit: float
    called: str

    @classmethod
    def of(cls, profile: Profile) -> TimeAxis:
        """Seconds, minutes or hours, by how long the job was."""
        start, end = extent(profile)
        for unit, called in ((3600.0, "hours"), (60.0, "minutes")):
            if end - start > 3 * unit:
                return cls(start, unit, f"{called} since the start")
        return cls(start, 1.0, "seconds since the start")

    def read(self, times: Floats) -> Floats:
        """UNIX seconds on this clock."""
        return (times - self.start) / self.unit


def extent(profile: Profile) -> tuple[float, float]:
    """When the first thing that was measured began and the last ended; (0, 0) where nothing was."""
    begun = [look.time for look in profile.looks]
    timed = [(one.start, one.seconds) for one in profile.timed]
    timed += [(one.start, one.seconds) for one in profile.stretches]
    starts, ends = [*begun, *(start for start, _ in timed)], [*begun, *(start + seconds for start, seconds in timed)]
    return (min(starts), max(ends)) if starts else (0.0, 0.0)


def averaged(times: Floats, values: Floats, points: int = POINTS) -> tuple[Floats, Floats]:
    """At most `points` of them: the mean of each of equal stretches. What a gauge shows is a mean over time already."""
    if len(times) <= points:
        return times, values
    first = np.linspace(0, len(times), points + 1).astype(np.int64)
    sizes = np.diff(first)
    return np.add.reduceat(times, first[:-1]) / sizes, np.add.reduceat(values, first[:-1]) / sizes


def line(profile: Profile, name: str, clock: TimeAxis, rank: int = 0, points: int = POINTS) -> TimeSeries:
    """A gauge as a line, in the unit of its meter."""
    found, known = profile.gauge(name, rank), gauge_label(name)
    times, values = averaged(clock.read(found.times), found.values / known.scale, points)
    return TimeSeries(known.called, times, values)


def shades(profile: Profile, clock: TimeAxis, rank: int = 0) -> list[tuple[float, float]]:
    """The stretches outside of training, on a clock; none where there are so many that a chart would be all grey."""
    spans = [span for span in profile.stretches if span.rank == rank]
    if len(spans) > _SHADES:
        return []
    place = clock.read(np.array([(span.start, span.start + span.seconds) for span in spans], np.float64).reshape(-1, 2))
    return [(float(start), float(end)) for start, end in place]


def percentiles(profile: Profile, names: Iterable[str], rank: int = 0) -> Table:
    """Lowest, median, 95th and 99th percentile and highest reading of each gauge while training steps ran."""
    rows = []
    for name in names:
        found = profile.gauge(name, rank)
        inside = profile.within(found, rank)
        values = (inside if len(inside) else found).values
        if not len(values):
            continue
        known = gauge_label(name)
        shown = np.percentile(values, (0, 50, 95, 99, 100)) / known.scale
        rows.append((known.called, name, *(reading(float(value), known.unit) for value in shown)))
    columns = ("what", "gauge", "min", "p50", "p95", "p99", "max")
    return table("Readings while training ran", columns, "llrrrrr", rows)


def line_table(caption: str, lines: Sequence[TimeSeries], unit: str, clock: TimeAxis) -> Table:
    """The lines of a chart in at most 24 rows, each the mean of a stretch."""
    shown = [TimeSeries(one.name, *averaged(one.times, one.values, 24)) for one in lines]
    longest = max(shown, key=lambda one: len(one.times))
    rows = [(f"{time:.4g}", *(_at(one, float(time), unit) for one in shown)) for time in longest.times]
    columns = (clock.called.split()[0], *(one.name for one in shown))
    return table(caption, columns, "r" * len(columns), rows)


def _at(one: TimeSeries, time: float, unit: str) -> str:
    return reading(float(one.values[int(np.abs(one.times - time).argmin())]) if len(one.times) else None, unit)
