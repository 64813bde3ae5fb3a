"""Heatmap: system metrics over time, one row per device, coloured by use."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, graph_objects
from smdebug.profiler.analysis.notebook_utils.system_series import SystemSeries, select

_CHART = "Heatmap"
_MINUTE = 60_000_000


class Heatmap:
    """Draws system metrics in percent; `figure` is a Plotly figure.

    starttime, endtime: microseconds since 1970, by default everything.  select_dimensions, select_events: patterns of
    dimensions and devices.  plot_height: pixels.  Dimensions that are no percentages are scaled to their maximum.
    Raises SMDebugRuntimeError without plotly or data.
    """

    def __init__(
        self,
        metrics_reader: Any,
        select_metrics: Sequence[str] = (),
        starttime: int = 0,
        endtime: int | None = None,
        select_dimensions: Sequence[str] = (".*CPU", ".*GPU"),
        select_events: Sequence[str] = (".*",),
        plot_height: int = 350,
        show_workers: bool = True,
    ) -> None:
        self.metrics_reader = metrics_reader
        self.select_dimensions, self.select_events = select_dimensions, select_events
        self.plot_height = plot_height
        self.figure: Any = None
        self._display = NotebookDisplay()
        self._series = SystemSeries(show_workers)
        newest = metrics_reader.get_timestamp_of_latest_available_file() + _MINUTE
        self.last_timestamp = newest if endtime is None else endtime
        self._series.add(metrics_reader.get_events(starttime, self.last_timestamp))
        self.system_metrics = self._series.arrays()
        if not self.system_metrics:
            raise SMDebugRuntimeError(f"{_CHART}: there are no system metrics yet. Wait for them with TrainingJob.")
        self.create_plot()

    def rows(self) -> dict[str, np.ndarray]:
        """Return the name of a row -> its values in percent, oldest first."""
        found = {}
        for dimension in select(self.select_dimensions, self.system_metrics):
            devices = self.system_metrics[dimension]
            for event in select(self.select_events, devices):
                values = devices[event][:, 1]
                largest = float(values.max()) if len(values) else 0.0
                is_percentage = "Utilization" in dimension or "Memory" in dimension or "Percent" in dimension
                found[f"{dimension}_{event}"] = values if is_percentage or not largest else 100 * values / largest
        return found

    def create_plot(self) -> None:
        """Draw and show the rows."""
        objects = graph_objects(_CHART)
        rows = self.rows()
        # Devices may have one measurement more or less.
        width = min((len(values) for values in rows.values()), default=0)
        matrix = [values[:width] for values in rows.values()]
        self.figure = objects.Figure(objects.Heatmap(z=matrix, y=list(rows), zmin=0, zmax=100, colorscale="Viridis"))
        self.figure.update_layout(height=self.plot_height, width=1000, xaxis_title="Indices")
        self._display.show(self.figure)

    def update_data(self, current_timestamp: int) -> None:
        """Add the measurements up to a time, in microseconds since 1970, and draw again."""
        events = self.metrics_reader.get_events(self.last_timestamp, current_timestamp)
        self.last_timestamp = current_timestamp
        if events:
            self._series.add(events)
            self.system_metrics = self._series.arrays()
            self.create_plot()
