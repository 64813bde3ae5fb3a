"""Curves of several runs over each other, told apart without colour: dash, marker and colour differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clearsight.core.statistics import Interval
from clearsight.reports.charts.learning import BLUE, GREEN, PURPLE, VERMILLION, blank, escaped, named_ticks, still
from clearsight.reports.kit.format import clipped

_OCHRE, _GREY = "#8A6A00", "#767676"  # the palette's yellow and black, as far as they can be seen on white and on black
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, _OCHRE, _GREY)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_MARKERS = ("circle", "diamond", "square", "triangle-up", "x", "star")
_OPEN = "-open"  # of the seventh run and on, whose colours come again
_MARKED = 8  # markers along one curve at most
MOST = len(_COLOURS) * 2


@dataclass(frozen=True)
class OverlayCurve:
    """A run's values; None leaves a gap.  place: which run it is, 0 to 11, so that it looks alike in every chart."""

    name: str
    place: int
    steps: Sequence[int]
    values: Sequence[float | None]


def overlay(curves: Sequence[OverlayCurve], *, unit: str, share: bool = False) -> go.Figure:
    """The curves over their steps or epochs. share: values in [0, 1], written as per cent."""
    figure = blank(height=330 + 14 * len(curves))
    written = ".1%" if share else ".4g"
    for curve in curves:
        colour, dash, symbol = look(curve.place)
        figure.add_scatter(
            x=list(curve.steps),
            y=list(curve.values),
            name=escaped(clipped(curve.name)),
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 8, "maxdisplayed": _MARKED},
            hovertemplate=f"%{{y:{written}}}",
        )
    figure.update_xaxes(title_text=unit, tickformat="d", rangemode="tozero")
    figure.update_yaxes(tickformat=".0%" if share else None, nticks=7)
    return figure.update_layout(hovermode="x unified", showlegend=True)


def spans(scores: Sequence[tuple[str, int, float, Interval | None]]) -> go.Figure:
    """Accuracies with their 95 % intervals, the best on top. scores: (name, place, share in [0, 1], interval)."""
    ordered = sorted(scores, key=lambda score: score[2])
    figure = blank(height=110 + 30 * max(len(ordered), 3))
    for row, (name, place, share, interval) in enumerate(ordered):
        colour, _, symbol = look(place)
        low, high = interval or (share, share)
        figure.add_scatter(
            x=[share],
            y=[row],
            name=escaped(clipped(name)),
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
    return still(figure.update_layout(showlegend=False))


def look(place: int) -> tuple[str, str, str]:
    """Colour, dash and marker of the run at a place from 0 to 11; no two share dash and marker."""
    again, index = divmod(place, len(_COLOURS))
    return (
        _COLOURS[index],
        _DASHES[(index + again) % len(_DASHES)],
        _MARKERS[index] + (_OPEN if again else ""),
    )
