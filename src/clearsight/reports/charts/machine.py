"""Charts of what a machine did: stacked times, lines over time, a map of many cores, durations of steps.

They follow the rules of `charts`: no paper and no ink of their own, and what differs by colour differs by hatching,
dash or marker too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.reports.charts.learning import BLUE, GREEN, PURPLE, VERMILLION, blank, escaped, named_ticks, still
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.charts.timeline import TimeSeries

AMBER, GREY = "#B47B00", "#808080"
_CLEAR_TO_BLUE = [[0, "rgba(0,114,178,0.04)"], [1, "rgba(0,114,178,1)"]]
_LABELLED = 0.02  # a part of a bar that is smaller than this share has no room for a name
_ROW = 46

# The look of a part is the same wherever it is drawn: (colour, hatching).
_LOOKS = {
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
    "training": (BLUE, ""),
    "validation": (GREEN, "\\"),
    "checkpoint": (PURPLE, "x"),
    "finalisation": (GREY, "+"),
    "rest": (GREY, "."),
}
_HATCH = {"size": 7, "solidity": 0.2, "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.65)"}
_OTHERS = ((VERMILLION, "x"), (AMBER, "x"), (PURPLE, "-"), (GREEN, "+"))
_STROKES = (
    (BLUE, "solid"),
    (VERMILLION, "dash"),
    (GREEN, "dot"),
    (PURPLE, "dashdot"),
    (AMBER, "longdash"),
    (GREY, "longdashdot"),
)


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, unit: str) -> go.Figure:
    """Bars of parts that follow each other; a part's name and share stand on it where there is room.

    rows: name of the bar -> part -> how much, in `unit`; the first bar on top.
    """
    names = list(rows)[::-1]
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    # On a narrow screen the legend has two names a row, and needs the height for them.
    figure = blank(height=96 + _ROW * len(names) + 16 * max(0, len(parts) - 4))
    for i, part in enumerate(parts):
        values = [float(rows[name].get(part, 0.0)) for name in names]
        totals = [sum(rows[name].values()) or 1.0 for name in names]
        shares = [value / total for value, total in zip(values, totals, strict=True)]
        figure.add_bar(
            x=[_short(value) for value in values],
            y=list(range(len(names))),
            name=escaped(part),
            orientation="h",
            marker=_fill(part, i),
            text=[f"{escaped(part)} {share:.0%}" if share >= _LABELLED else "" for share in shares],
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            customdata=[f"{share:.1%}" for share in shares],
            hovertemplate=f"%{{x:.4g}} {unit} (%{{customdata}})",
        )
    figure.update_xaxes(title_text=unit, range=[0, max(sum(row.values()) for row in rows.values()) or 1.0])
    figure.update_yaxes(showgrid=False, **named_ticks(names))
    figure.update_layout(uniformtext={"mode": "hide", "minsize": 11})
    if len(names) == 1:
        figure.update_yaxes(showticklabels=False)
    return still(figure.update_layout(barmode="stack", bargap=0.25, hovermode="closest"))


def stacked_columns(places: Sequence[str], parts: Mapping[str, Sequence[float]], *, unit: str, axis: str) -> go.Figure:
    """A column of parts at each place, e.g. the phases of a step in each epoch."""
    figure = blank(height=320)
    for i, (part, values) in enumerate(parts.items()):
        figure.add_bar(
            x=list(range(len(places))),
            y=[_short(value) for value in values],
            name=escaped(part),
            marker=_fill(part, i),
            hovertemplate=f"%{{y:.4g}} {unit}",
        )
    every = max(1, len(places) // 12)
    shown = [(i, place) for i, place in enumerate(places) if i % every == 0]
    figure.update_xaxes(
        title_text=axis,
        showgrid=False,
        tickmode="array",
        tickvals=[i for i, _ in shown],
        ticktext=[escaped(place) for _, place in shown],
    )
    figure.update_yaxes(title_text=unit, rangemode="tozero")
    return still(figure.update_layout(barmode="stack", bargap=0.2, hovermode="x unified"))


def time_lines(
    lines: Sequence[TimeSeries],
    *,
    unit: str,
    clock: str,
    top: float | None = None,
    shades: Sequence[tuple[float, float]] = (),
) -> go.Figure:
    """Readings over time. clock: what the times count.  top: end of the axis.  shades: spans of time drawn grey."""
    figure = blank(height=320)
    for (colour, dash), line in zip(_STROKES * (1 + len(lines) // len(_STROKES)), lines, strict=False):
        figure.add_scatter(
            x=[_short(value) for value in line.times],
            y=[_short(value) for value in line.values],
            name=escaped(line.name),
            mode="lines" if len(line.times) > 1 else "markers",
            line={"color": colour, "width": 1.6, "dash": dash},
            hovertemplate=f"%{{y:.4g}}{unit if unit == '%' else ' ' + unit}",
        )
    for start, end in shades:
        figure.add_shape(
            type="rect",
            x0=_short(start),
            x1=_short(end),
            y0=0,
            y1=1,
            yref="paper",
            layer="below",
            line={"width": 0},
            fillcolor="rgba(128,128,128,0.18)",
        )
    figure.update_xaxes(title_text=clock, rangemode="tozero")
    figure.update_yaxes(title_text=unit, rangemode="tozero", range=None if top is None else [0, top])
    figure.update_layout(showlegend=True)
    return figure.update_layout(hovermode="x unified")


def time_map(names: Sequence[str], times: npt.ArrayLike, values: npt.ArrayLike, *, clock: str) -> go.Figure:
    """Many readings in per cent over time, a row each. times: (T,).  values: (rows, T), NaN where nobody looked."""
    matrix = np.asarray(values, dtype=np.float64)
    figure = blank(height=min(110 + 18 * max(len(names), 5), 520))
    figure.add_heatmap(
        x=[_short(value) for value in np.asarray(times, dtype=np.float64)],
        y=list(range(len(names))),
        z=[[None if not np.isfinite(value) else round(float(value)) for value in row] for row in matrix],
        zmin=0,
        zmax=100,
        colorscale=_CLEAR_TO_BLUE,
        colorbar={"thickness": 10, "ticksuffix": "%", "tickvals": [0, 50, 100], "outlinewidth": 0},
        hovertemplate="row %{y}: %{z}%<extra></extra>",
    )
    figure.update_xaxes(title_text=clock, showgrid=False)
    every = max(1, len(names) // 24)
    ticks = {"tickvals": list(range(0, len(names), every)), "ticktext": [escaped(name) for name in names[::every]]}
    figure.update_yaxes(showgrid=False, range=[len(names) - 0.5, -0.5], tickmode="array", **ticks)
    return still(figure)


def duration_histogram(edges: Sequence[float], counts: Sequence[int], marks: Mapping[str, float]) -> go.Figure:
    """How many steps took how long. edges: (B + 1,) ms.  counts: (B,).  marks: name -> ms, drawn as lines."""
    figure = blank(height=300)
    figure.add_bar(
        x=[_short((low + high) / 2) for low, high in pairwise(edges)],
        width=[_short(high - low) for low, high in pairwise(edges)],
        y=[int(number) for number in counts],
        marker={"color": BLUE, "opacity": 0.8},
        customdata=[f"{low:.4g} to {high:.4g} ms" for low, high in pairwise(edges)],
        hovertemplate="%{customdata}: %{y} steps<extra></extra>",
    )
    for level, (name, place) in enumerate(marks.items()):
        if not edges[0] <= place <= edges[-1]:
            continue
        figure.add_vline(x=_short(place), line={"width": 1.5, "dash": "dot", "color": VERMILLION})
        figure.add_annotation(
            x=_short(place),
            y=1 - 0.1 * level,
            yref="paper",
            text=escaped(name),
            name="mark",
            showarrow=False,
            xanchor="left",
            yanchor="top",
            xshift=3,
        )
    figure.update_xaxes(title_text="ms")
    figure.update_yaxes(title_text="steps")
    return still(figure.update_layout(bargap=0.05))


def step_durations(steps: ScalarSeries, outliers: ScalarSeries) -> go.Figure:
    """Milliseconds of each step over the steps; those that stand out are marked."""
    figure, shown = blank(height=300), steps.thinned()
    figure.add_scatter(
        x=shown.steps.tolist(),
        y=[_short(value) for value in shown.values],
        name="each step",
        mode="lines" if len(shown) > 1 else "markers",
        line={"color": BLUE, "width": 1.2},
        hovertemplate="%{y:.4g} ms",
    )
    if len(outliers):
        figure.add_scatter(
            x=outliers.steps.tolist(),
            y=[_short(value) for value in outliers.values],
            name="stands out",
            mode="markers",
            marker={"color": VERMILLION, "symbol": "diamond-open", "size": 9, "line": {"width": 2}},
            hovertemplate="%{y:.4g} ms",
        )
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(title_text="ms", rangemode="tozero")
    return figure.update_layout(hovermode="x unified")


def _fill(part: str, place: int) -> dict[str, object]:
    colour, hatch = _LOOKS.get(part) or _OTHERS[place % len(_OTHERS)]
    return {"color": colour, "opacity": 0.85, "pattern": {**_HATCH, "shape": hatch}}


def _short(value: float) -> float | None:
    """Five digits are more than a chart can show; what is not finite is a gap."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
