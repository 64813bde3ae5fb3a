"""StepHistogram: how long the phases of the training loop take."""

from __future__ import annotations

from typing import Any, Sequence

from smdebug.profiler.analysis.notebook_utils.plotly_figure import NotebookDisplay, draw_histograms
from smdebug.profiler.analysis.notebook_utils.system_series import select


class StepHistogram:
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
