"""Plotly figures of the machine: stacked times, lines over time, a map of many cores, durations of steps.

They follow the rules of `charts.learning`: the page sets background and text colours, and whatever differs by colour
differs by hatching, dash or marker too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.reports.charts.gauges import TimeSeries
from clearsight.reports.charts.learning import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    add_mark,
    empty_figure,
    escape_name,
    named_ticks,
    without_zoom,
)
from clearsight.reports.charts.series import ScalarSeries, rounded

Span = tuple[float, float]  # start and end on a time axis
AMBER = "#B47B00"
_CLEAR_TO_BLUE = [[0, "rgba(0,114,178,0.04)"], [1, "rgba(0,114,178,1)"]]
_LABELLED = 0.02  # share of a bar; a smaller part has no room for its name
_ROW = 46  # pixels of height per bar

# (colour, hatching) of a part, the same in every chart.
_STYLES = {
    "data": (VERMILLION, "/"),
    "transfer": (PURPLE, "x"),
    "forward": (BLUE, ""),
    "loss": (GREY, "|"),
    "backward": (GREEN, "\\"),
    "optimizer": (AMBER, "-"),
    "hook": (GREY, "+"),
    "read": (VERMILLION, "/"),
    "decode": (BLUE, ""),
    "augment": (GREEN, "\\"),
    "collate": (PURPLE, "x"),
    "initialisation": (AMBER, "/"),
    "features": (VERMILLION, "."),
    "training": (BLUE, ""),
    "validation": (GREEN, "\\"),
    "checkpoint": (PURPLE, "x"),
    "finalisation": (GREY, "+"),
    "rest": (GREY, "."),
}
# White lines over the colour, so that text on a bar stays readable.
_HATCH = {"size": 7, "solidity": 0.2, "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.65)"}
# For parts that the user named; combinations that no known part has.
_OTHER_STYLES = ((VERMILLION, "x"), (AMBER, "x"), (PURPLE, "-"), (GREEN, "+"))
_LINE_STYLES = tuple(zip((BLUE, VERMILLION, GREEN, PURPLE, AMBER, GREY), DASHES, strict=True))


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, unit: str) -> go.Figure:
    """Return bars of parts that follow each other, with name and share on each part where there is room.

    rows: name of the bar -> part -> amount in `unit`; the first bar is on top.
    """
    names = list(rows)[::-1]  # Plotly draws the first bar at the bottom
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    # On a narrow screen the legend has two names per row and needs height for them.
    figure = empty_figure(height=96 + _ROW * len(names) + 16 * max(0, len(parts) - 4))
    for i, part in enumerate(parts):
        values = [float(rows[name].get(part, 0.0)) for name in names]
        totals = [sum(rows[name].values()) or 1.0 for name in names]
        shares = [value / total for value, total in zip(values, totals, strict=True)]
        figure.add_bar(
            x=[rounded(value) for value in values],
            y=list(range(len(names))),
            name=escape_name(part),
            orientation="h",
            marker=_fill(part, i),
            text=[f"{escape_name(part)} {share:.0%}" if share >= _LABELLED else "" for share in shares],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            customdata=[f"{share:.1%}" for share in shares],
            hovertemplate=f"%{{x:.4g}} {unit} (%{{customdata}})",
        )
    figure.update_xaxes(title_text=unit, range=[0, max(sum(row.values()) for row in rows.values()) or 1.0])
    figure.update_yaxes(showgrid=False, **named_ticks(names))
    if len(names) == 1:
        figure.update_yaxes(showticklabels=False)
    # A name that does not fit is hidden instead of shrunk or turned.
    figure.update_layout(uniformtext={"mode": "hide", "minsize": 11})
    return without_zoom(figure.update_layout(barmode="stack", bargap=0.25, hovermode="closest"))


def stacked_columns(places: Sequence[str], parts: Mapping[str, Sequence[float]], *, unit: str, axis: str) -> go.Figure:
    """Return a column of parts at each place, such as the phases of a step in each epoch."""
    figure = empty_figure(height=320)
    for i, (part, values) in enumerate(parts.items()):
        figure.add_bar(
            x=list(range(len(places))),
            y=[rounded(value) for value in values],
            name=escape_name(part),
            marker=_fill(part, i),
            hovertemplate=f"%{{y:.4g}} {unit}",
        )
    figure.update_xaxes(title_text=axis, showgrid=False, **_some_ticks(places, 12))
    figure.update_yaxes(title_text=unit, rangemode="tozero")
    return without_zoom(figure.update_layout(barmode="stack", bargap=0.2, hovermode="x unified"))


def time_lines(
    lines: Sequence[TimeSeries], *, unit: str, clock: str, top: float | None = None, shades: Sequence[Span] = ()
) -> go.Figure:
    """Return readings over time. clock: title of the time axis.  top: end of the value axis.  shades: spans in grey."""
    figure = empty_figure(height=320)
    for (colour, dash), line in zip(_LINE_STYLES * (1 + len(lines) // len(_LINE_STYLES)), lines, strict=False):
        figure.add_scatter(
            x=[rounded(value) for value in line.times],
            y=[rounded(value) for value in line.values],
            name=escape_name(line.name),
            mode="lines" if len(line.times) > 1 else "markers",
            line={"color": colour, "width": 1.6, "dash": dash},
            hovertemplate=f"%{{y:.4g}}{unit if unit == '%' else ' ' + unit}",
        )
    for start, end in shades:
        figure.add_shape(
            type="rect",
            x0=rounded(start),
            x1=rounded(end),
            y0=0,
            y1=1,
            yref="paper",
            layer="below",
            line={"width": 0},
            fillcolor="rgba(128,128,128,0.18)",
        )
    figure.update_xaxes(title_text=clock, rangemode="tozero")
    figure.update_yaxes(title_text=unit, rangemode="tozero", range=None if top is None else [0, top])
    return figure.update_layout(showlegend=True, hovermode="x unified")


def time_map(names: Sequence[str], times: npt.ArrayLike, values: npt.ArrayLike, *, clock: str) -> go.Figure:
    """Return many readings in per cent over time, a row each. times: (T,).  values: (rows, T), NaN for no sample."""
    matrix = np.asarray(values, dtype=np.float64)
    figure = empty_figure(height=min(110 + 18 * max(len(names), 5), 520))  # 192 cores must fit the screen
    figure.add_heatmap(
        x=[rounded(value) for value in np.asarray(times, dtype=np.float64)],
        y=list(range(len(names))),
        z=[[None if not np.isfinite(value) else round(float(value)) for value in row] for row in matrix],
        zmin=0,
        zmax=100,
        colorscale=_CLEAR_TO_BLUE,
        colorbar={"thickness": 10, "ticksuffix": "%", "tickvals": [0, 50, 100], "outlinewidth": 0},
        hovertemplate="row %{y}: %{z}%<extra></extra>",
    )
    figure.update_xaxes(title_text=clock, showgrid=False)
    figure.update_yaxes(showgrid=False, range=[len(names) - 0.5, -0.5], **_some_ticks(names, 24))
    return without_zoom(figure)


def duration_histogram(edges: Sequence[float], counts: Sequence[int], marks: Mapping[str, float]) -> go.Figure:
    """Return a histogram of step durations. edges: (B + 1,) ms.  counts: (B,).  marks: name -> ms, drawn as lines."""
    figure = empty_figure(height=300)
    figure.add_bar(
        x=[rounded((low + high) / 2) for low, high in pairwise(edges)],
        width=[rounded(high - low) for low, high in pairwise(edges)],
        y=[int(number) for number in counts],
        marker={"color": BLUE, "opacity": 0.8},
        customdata=[f"{low:.4g} to {high:.4g} ms" for low, high in pairwise(edges)],
        hovertemplate="%{customdata}: %{y} steps<extra></extra>",
    )
    for row, (name, place) in enumerate(marks.items()):
        if not edges[0] <= place <= edges[-1]:
            continue  # the axis would stretch to it
        line = {"width": 1.5, "dash": "dot", "color": VERMILLION}
        level, text = 1 - 0.1 * row, escape_name(name)
        add_mark(figure, rounded(place), text, line=line, y=level, name="mark", xanchor="left", xshift=3)
    figure.update_xaxes(title_text="ms")
    figure.update_yaxes(title_text="steps")
    return without_zoom(figure.update_layout(bargap=0.05))


def step_durations(steps: ScalarSeries, outliers: ScalarSeries) -> go.Figure:
    """Return the milliseconds of each step over the steps, with a marker on each outlier."""
    figure, points = empty_figure(height=300), steps.thinned()
    figure.add_scatter(
        x=points.steps.tolist(),
        y=[rounded(value) for value in points.values],
        name="each step",
        mode="lines" if len(points) > 1 else "markers",
        line={"color": BLUE, "width": 1.2},
        hovertemplate="%{y:.4g} ms",
    )
    if len(outliers):
        figure.add_scatter(
            x=outliers.steps.tolist(),
            y=[rounded(value) for value in outliers.values],
            name="outlier",
            mode="markers",
            marker={"color": VERMILLION, "symbol": "diamond-open", "size": 9, "line": {"width": 2}},
            hovertemplate="%{y:.4g} ms",
        )
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="ms", rangemode="tozero")
    return figure.update_layout(hovermode="x unified")


def _some_ticks(names: Sequence[str], most: int) -> dict[str, object]:
    """Return the settings of an axis that names every n-th place, because about `most` labels have room."""
    places = range(0, len(names), max(1, len(names) // most))
    return {"tickmode": "array", "tickvals": list(places), "ticktext": [escape_name(names[i]) for i in places]}


def _fill(part: str, index: int) -> dict[str, object]:
    colour, hatch = _STYLES.get(part) or _OTHER_STYLES[index % len(_OTHER_STYLES)]
    return {"color": colour, "opacity": 0.85, "pattern": {**_HATCH, "shape": hatch}}
