"""Histograms of step durations and of system metrics: what StepHistogram and MetricsHistogram draw."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, subplots
from smdebug.profiler.analysis.notebook_utils.plotly_figure import graph_objects
from smdebug.profiler.analysis.notebook_utils.system_series import SystemSeries, select

_BINS = 50
_MINUTE = 60_000_000


class StepDurations:
    """Histograms of the durations of phases, in ms; `figure` is a Plotly figure after `plot`."""

    def __init__(self, metrics_reader: Any, width: int = 500) -> None:
        self.metrics_reader, self.width = metrics_reader, width
        self.step_metrics: dict[str, list[float]] = {}
        self.figure: Any = None
        self._display = NotebookDisplay()

    def plot(
        self,
        starttime: int = 0,
        endtime: int | None = None,
        select_metrics: Sequence[str] = ("Step:ModeKeys", "Forward-node", r"Backward\(post-forward\)-node"),
        show_workers: bool = True,
    ) -> None:
        """Draw the phases that a pattern of `select_metrics` matches. starttime, endtime: microseconds since 1970."""
        end = self.metrics_reader.get_timestamp_of_latest_available_file() if endtime is None else endtime
        durations: dict[str, list[float]] = {}
        for event in self.metrics_reader.get_events(starttime, end):
            name = f"{event.event_phase}-nodeid:{event.node_id}" if show_workers else event.event_phase
            durations.setdefault(name, []).append(event.duration / 1000)
        self.step_metrics = {name: durations[name] for name in select(select_metrics, durations)}
        self.figure = draw_histograms("StepHistogram", self.step_metrics)
        self._display.show(self.figure)


class SystemValues:
    """Histograms of system metrics; `figure` is a Plotly figure after `plot`."""

    def __init__(self, metrics_reader: Any) -> None:
        self.metrics_reader = metrics_reader
        self.figure: Any = None
        self._display = NotebookDisplay()

    def plot(
        self,
        starttime: int = 0,
        endtime: int | None = None,
        select_dimensions: Sequence[str] = (".*",),
        select_events: Sequence[str] = (".*",),
        show_workers: bool = True,
    ) -> None:
        """Draw the dimensions and devices that patterns match. starttime, endtime: microseconds since 1970."""
        newest = self.metrics_reader.get_timestamp_of_latest_available_file() + _MINUTE
        series = SystemSeries(show_workers)
        series.add(self.metrics_reader.get_events(starttime, newest if endtime is None else endtime))
        arrays = series.arrays()
        values = {
            f"{dimension}_{event}": arrays[dimension][event][:, 1].tolist()
            for dimension in select(select_dimensions, arrays)
            for event in select(select_events, arrays[dimension])
        }
        self.figure = draw_histograms("MetricsHistogram", values)
        self._display.show(self.figure)


def draw_histograms(chart: str, values: Mapping[str, Sequence[float]]) -> Any:
    """Return a figure with one histogram per name. Raises SMDebugRuntimeError without values."""
    objects = graph_objects(chart)
    if not values:
        raise SMDebugRuntimeError(f"{chart}: nothing matches the selection.")
    figure = subplots(chart, list(values))
    for row, (name, numbers) in enumerate(values.items(), start=1):
        counts, edges = np.histogram(numbers, bins=_BINS)
        figure.add_trace(objects.Bar(x=(edges[1:] + edges[:-1]) / 2, y=counts, name=name), row=row, col=1)
    figure.update_xaxes(matches=None, showticklabels=True)
    return figure
