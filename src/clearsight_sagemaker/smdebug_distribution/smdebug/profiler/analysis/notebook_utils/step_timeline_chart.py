"""StepTimelineChart: duration of each step over time."""

from __future__ import annotations

from typing import Any

import numpy as np

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, graph_objects

_CHART = "StepTimelineChart"


class StepTimelineChart:
    """Draws step durations; `figure` is a Plotly figure, `steps` an array (N, 3) of start, duration and number.

    width: steps that are visible at first, the newest.  Raises SMDebugRuntimeError without plotly or steps.
    """

    def __init__(self, metrics_reader: Any = None, width: int = 1000) -> None:
        self.metrics_reader, self.width = metrics_reader, width
        self.metric_names: list[str] = []
        self.steps = np.empty((0, 3))
        self.figure: Any = None
        self._display = NotebookDisplay()
        self.last_timestamp = 0
        self._read(metrics_reader.get_timestamp_of_latest_available_file())
        if not len(self.steps):
            raise SMDebugRuntimeError(f"{_CHART}: the timelines have no steps. Start the job with a FrameworkProfile.")
        self.create_plot()

    def create_plot(self) -> None:
        """Draw and show the steps."""
        objects = graph_objects(_CHART)
        seconds = self.steps[:, 0] - self.steps[0, 0]
        texts = [f"{name}, step {int(number)}" for name, number in zip(self.metric_names, self.steps[:, 2])]
        self.figure = objects.Figure(objects.Scatter(x=seconds, y=self.steps[:, 1], mode="lines", text=texts))
        visible = seconds[-self.width :]
        self.figure.update_layout(height=250, width=1000, xaxis_title="Time in s", yaxis_title="Step duration in s")
        self.figure.update_xaxes(range=[float(visible[0]), float(visible[-1])])
        self._display.show(self.figure)

    def update_data(self, current_timestamp: int) -> None:
        """Add the steps up to a time, in microseconds since 1970, and draw again."""
        before = len(self.steps)
        self._read(current_timestamp)
        if len(self.steps) > before:
            self.create_plot()

    def _read(self, until: int) -> None:
        events = self.metrics_reader.get_events(self.last_timestamp, until)
        steps = [event for event in events if event.event_name.startswith("Step") and event.event_args]
        rows = [[event.start_time / 1e6, event.duration / 1e6, int(event.event_args["step_num"])] for event in steps]
        named = {(*row, name) for row, name in zip(self.steps.tolist(), self.metric_names)}
        # A step at the border of two ranges is in both.
        named |= {(*map(float, row), event.event_name) for row, event in zip(rows, steps)}
        ordered = sorted(named)
        self.steps = np.array([row[:3] for row in ordered]).reshape(-1, 3)
        self.metric_names = [str(row[3]) for row in ordered]
        self.last_timestamp = until
