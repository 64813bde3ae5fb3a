"""MetricsHistogram: how often each use of a device was measured."""

from __future__ import annotations

from typing import Any, Sequence

from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, draw_histograms
from smdebug.profiler.analysis.notebook_utils.system_series import SystemSeries, select

_MINUTE = 60_000_000


class MetricsHistogram:
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
