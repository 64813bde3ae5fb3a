"""Curves and scores of several runs in one chart. Runs differ by dash, marker and colour, so colour is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clearsight.core.statistics import Interval
from clearsight.reports.charts.learning import (
    BLUE,
    GREEN,
    PURPLE,
    VERMILLION,
    empty_figure,
    escape_name,
    named_ticks,
    without_zoom,
)
from clearsight.reports.kit.format import clipped

# The palette's yellow and black, darkened and lightened until they can be seen on white and on black.
_OCHRE, _GREY = "#8A6A00", "#767676"
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, _OCHRE, _GREY)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKERS = ("circle", "diamond", "square", "triangle-up", "x", "star")
_OPEN = "-open"  # markers from the seventh run on, which repeat the colours
_MARKERS_PER_CURVE = 8
MAX_RUNS = len(_COLOURS) * 2


@dataclass(frozen=True)
class OverlayCurve:
    """Values of a run; None leaves a gap. index: of the run, 0 to 11, so that it looks the same in every chart."""

    name: str
    index: int
    steps: Sequence[int]
    values: Sequence[float | None]


def overlay(curves: Sequence[OverlayCurve], *, unit: str, share: bool = False) -> go.Figure:
    """Return the curves over their steps or epochs. share: the values are in [0, 1] and shown in per cent."""
    figure = empty_figure(height=330 + 14 * len(curves))  # the legend has a line for about two runs
    number_format = ".1%" if share else ".4g"
    for curve in curves:
        colour, dash, symbol = run_style(curve.index)
        figure.add_scatter(
            x=list(curve.steps),
            y=list(curve.values),
            name=escape_name(clipped(curve.name)),
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 8, "maxdisplayed": _MARKERS_PER_CURVE},
            hovertemplate=f"%{{y:{number_format}}}",
        )
    longest = max((max(curve.steps) for curve in curves if curve.steps), default=0)
    # Plotly puts ticks at halves, which whole numbers would show as 0, 1, 1, 2, 2.
    ticks = {"dtick": 1} if longest <= 12 else {}
    figure.update_xaxes(title_text=unit, tickformat="d", rangemode="tozero", **ticks)
    figure.update_yaxes(tickformat=".0%" if share else None, nticks=7)
    return figure.update_layout(hovermode="x unified", showlegend=True)


def interval_chart(scores: Sequence[tuple[str, int, float, Interval | None]]) -> go.Figure:
    """Return accuracies with their 95 % intervals, the best on top. scores: (name, index, accuracy, interval)."""
    ordered = sorted(scores, key=lambda score: score[2])
    figure = empty_figure(height=110 + 30 * max(len(ordered), 3))
    for row, (name, index, share, interval) in enumerate(ordered):
        colour, _, symbol = run_style(index)
        low, high = interval or (share, share)
        figure.add_scatter(
            x=[share],
            y=[row],
            name=escape_name(clipped(name)),
            mode="markers",
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 1, "color": colour}},
            error_x={
                "symmetric": False,
                "array": [high - share],
                "arrayminus": [share - low],
                "thickness": 2,
                "width": 5,
                "color": colour,
            },
            hovertemplate=f"%{{x:.1%}} ({low:.1%} to {high:.1%})",
        )
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(showgrid=False, **named_ticks([name for name, *_ in ordered]))
    return without_zoom(figure.update_layout(showlegend=False))


def run_style(index: int) -> tuple[str, str, str]:
    """Return colour, dash and marker of the run with an index from 0 to 11; no two share dash and marker."""
    cycle, index = divmod(index, len(_COLOURS))
    return (
        _COLOURS[index],
        _DASHES[(index + cycle) % len(_DASHES)],  # shifted, so that the same colour has another dash
        _MARKERS[index] + (_OPEN if cycle else ""),
    )
