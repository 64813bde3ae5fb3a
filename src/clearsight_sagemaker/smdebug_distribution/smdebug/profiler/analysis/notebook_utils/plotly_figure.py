"""Plotly figures in a notebook: made, shown, and shown again in place."""

from __future__ import annotations

import sys
from typing import Any, Mapping, Sequence

import numpy as np

from smdebug.exceptions import SMDebugRuntimeError

_BINS = 50


def graph_objects(chart: str) -> Any:
    """Return plotly.graph_objects. Raises SMDebugRuntimeError, which names the chart, where plotly is missing."""
    try:
        import plotly.graph_objects
    except ImportError:
        raise SMDebugRuntimeError(
            f"{chart} draws with plotly, which is not here. Install it: pip install plotly"
        ) from None
    return plotly.graph_objects


def subplots(chart: str, titles: list[str]) -> Any:
    """Return a figure with one row per title, which share the time axis."""
    graph_objects(chart)
    from plotly.subplots import make_subplots

    rows = max(len(titles), 1)
    figure = make_subplots(rows=rows, shared_xaxes=True, subplot_titles=titles, vertical_spacing=min(0.1, 0.3 / rows))
    figure.update_layout(height=60 + 180 * rows, width=1000, showlegend=False)
    return figure


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


class NotebookDisplay:
    """Place in a notebook that shows a figure; outside of a notebook nothing is shown."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, figure: Any) -> None:
        """Show a figure; the second one replaces the first."""
        interactive = sys.modules.get("IPython")
        if interactive is None or interactive.get_ipython() is None:
            return
        from IPython.display import display

        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
