"""Gauges over the time of a job, as charts and tables need them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Profile
from clearsight.reports.charts.gauge_labels import format_reading, gauge_label
from clearsight.reports.kit.section import Table, table

Floats = npt.NDArray[np.float64]
POINTS = 600  # of a line; more than the pixels of a chart show nothing new
_SHADES = 60  # with more shaded spans a chart would be grey all over
_ROWS = 24  # of the table behind a chart


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
    samples = [sample.time for sample in profile.gauge_samples]
    timed = [(step.start, step.seconds) for step in profile.step_times]
    timed += [(span.start, span.seconds) for span in profile.all_spans]
    starts = [*samples, *(start for start, _ in timed)]
    ends = [*samples, *(start + seconds for start, seconds in timed)]
    return (min(starts), max(ends)) if starts else (0.0, 0.0)


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
    return format_reading(
        float(line.values[int(np.abs(line.times - time).argmin())]) if len(line.times) else None, unit
    )
