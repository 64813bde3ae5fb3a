"""TimelineCharts: system metrics over time, one chart for each dimension and device."""

from __future__ import annotations

from collections import Counter
from typing import Any, Sequence

import numpy as np

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, graph_objects, subplots
from smdebug.profiler.analysis.notebook_utils.system_series import TOTAL, SystemSeries, select
from smdebug.profiler.utils import TimeUnits

_CHART = "TimelineCharts"
_MAX_EVENTS = 500
_MINUTE = 60_000_000


class TimelineCharts:
    """Draws system metrics; `figure` is a Plotly figure.

    starttime, endtime: microseconds since 1970, by default everything.  select_dimensions, select_events: patterns of
    dimensions and devices.  x: measurements that are visible at first, the newest.  show_workers: charts per node.
    Raises SMDebugRuntimeError without plotly or data.
    """

    def __init__(
        self,
        system_metrics_reader: Any,
        framework_metrics_reader: Any,
        starttime: int = 0,
        endtime: int | None = None,
        select_dimensions: Sequence[str] = (".*",),
        select_events: Sequence[str] = (".*",),
        x: int = 1000,
        show_workers: bool = True,
    ) -> None:
        self.system_metrics_reader, self.framework_metrics_reader = system_metrics_reader, framework_metrics_reader
        self.select_dimensions, self.select_events = select_dimensions, select_events
        self.width = x
        self.figure: Any = None
        self._display = NotebookDisplay()
        self._series = SystemSeries(show_workers)
        # The last file has the measurements of the minute that begins with its time.
        newest = system_metrics_reader.get_timestamp_of_latest_available_file() + _MINUTE
        self.last_timestamp_system_metrics = newest if endtime is None else endtime
        self._series.add(system_metrics_reader.get_events(starttime, self.last_timestamp_system_metrics))
        self.system_metrics = self._series.arrays()
        if not self.system_metrics:
            raise SMDebugRuntimeError(f"{_CHART}: there are no system metrics yet. Wait for them with TrainingJob.")
        self._select()
        self.create_plot()

    def create_plot(self) -> None:
        """Draw and show the selected metrics."""
        objects = graph_objects(_CHART)
        pairs = [
            (dimension, event)
            for dimension in self.filtered_dimensions
            for event in self.filtered_events
            if event in self.system_metrics[dimension]
        ]
        self.figure = subplots(_CHART, [f"{dimension}_{event}" for dimension, event in pairs])
        for row, (dimension, event) in enumerate(pairs, start=1):
            values = self.system_metrics[dimension][event]
            line = objects.Scatter(
                x=values[:, 0] - self.start, y=values[:, 1], mode="lines", name=f"{dimension}_{event}"
            )
            self.figure.add_trace(line, row=row, col=1)
            if "Utilization" in dimension or "Memory" in dimension:
                self.figure.update_yaxes(range=[0, 102], row=row, col=1)
            visible = values[-self.width :, 0] - self.start
            self.figure.update_xaxes(range=[float(visible[0]), float(visible[-1])], row=row, col=1)
        self.figure.update_xaxes(title_text="seconds since the first measurement", row=max(len(pairs), 1), col=1)
        self._display.show(self.figure)

    def update_data(self, current_timestamp: int) -> None:
        """Add the measurements up to a time, in microseconds since 1970, and draw again."""
        events = self.system_metrics_reader.get_events(self.last_timestamp_system_metrics, current_timestamp)
        print(
            f"Found {len(events)} new system metrics events from timestamp_in_us:{self.last_timestamp_system_metrics} "
            f"to timestamp_in_us:{current_timestamp}"
        )
        self.last_timestamp_system_metrics = current_timestamp
        if events:
            self._series.add(events)
            self.system_metrics = self._series.arrays()
            self.create_plot()

    def find_time_annotations(self, indexes: Sequence[int]) -> dict[str, float]:
        """Print and return the seconds of each phase between two measurements of the CPU, given by their indexes."""
        seconds_of: Counter[str] = Counter()
        for event in self._events_between(indexes):
            step = (event.event_args or {}).get("step_num")
            seconds_of[event.event_name if step is None else f"{event.event_name}_{step}"] += event.duration / 1e6
        for name, seconds in seconds_of.items():
            print(f"Spent {seconds * 1000:.3f} ms (cumulative time) in {name}")
        return dict(seconds_of)

    def plot_detailed_profiler_data(self, indexes: Sequence[int]) -> Any:
        """Draw the phases between two measurements of the CPU, at most 500; returns the figure."""
        events = self._events_between(indexes)
        objects = graph_objects(_CHART)
        if len(events) > _MAX_EVENTS:
            print(f"Reached more than {_MAX_EVENTS} datapoints. Will only plot the first {_MAX_EVENTS}.")
        figure = objects.Figure()
        for event in events[:_MAX_EVENTS]:
            figure.add_trace(
                objects.Bar(
                    base=[event.start_time / 1000], x=[event.duration / 1000], y=[event.event_phase], orientation="h"
                )
            )
        figure.update_layout(height=250, width=1000, showlegend=False, barmode="overlay", xaxis_title="Time in ms")
        NotebookDisplay().show(figure)
        return figure

    def _select(self) -> None:
        events = {event for devices in self.system_metrics.values() for event in devices}
        print(f"select events:{list(self.select_events)}")
        print(f"select dimensions:{list(self.select_dimensions)}")
        self.filtered_events = select(self.select_events, events)
        self.filtered_dimensions = select(self.select_dimensions, self.system_metrics)
        print(f"filtered_events:{set(self.filtered_events)}")
        print(f"filtered_dimensions:{set(self.filtered_dimensions)}")
        first = [rows[0, 0] for devices in self.system_metrics.values() for rows in devices.values()]
        self.start = float(np.min(first))

    def _events_between(self, indexes: Sequence[int]) -> list[Any]:
        cpu = [devices[TOTAL] for name, devices in self.system_metrics.items() if name.startswith("CPUUtilization")]
        if not len(indexes) or not cpu or self.framework_metrics_reader is None:
            print("No selection made")
            return []
        begin, end = (float(cpu[0][index, 0]) for index in (min(indexes), max(indexes)))
        print(f"Selected timerange: {begin} to {end}")
        events: list[Any] = self.framework_metrics_reader.get_events(begin, end, unit=TimeUnits.SECONDS)
        return events
