"""Plotly figures of learning curves, confusion, classes and calibration, made from plain values.

Figures have no colours for background, text and grid: the page sets those, for light, dark and print. Lines and bars
use the palette of Okabe and Ito 2008, "Color Universal Design", and differ by dash, marker or hatching as well. Names
come from the user's data: they are placed by position and escaped, because Plotly reads HTML in every text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.core.statistics import Interval, wilson
from clearsight.reports.charts.axes import set_score_axis
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.kit.format import clipped

Values = Sequence[float | None]

# Each has a contrast of at least 3:1 to white; on a dark background the page swaps BLUE for the palette's sky blue.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#808080"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_CLEAR_TO_BLUE = [[0, "rgba(0,114,178,0)"], [1, "rgba(0,114,178,1)"]]
_ROW = 22  # pixels of height per class in charts that list classes; smaller labels overlap


def learning_curve(
    epochs: Sequence[int], train: Values, valid: Values, *, best: int | None = None, metric: str = "loss"
) -> go.Figure:
    """Return a score over the epochs, with training and validation on one axis and a mark at epoch `best`.

    None leaves a gap; a side that is all None is left out. metric: its name, which decides the axis.
    """
    figure = empty_figure(height=300)
    number_format = ".1%" if metric in ("accuracy", "top5") else ".4g"
    for name, values, colour, dash, symbol in (
        ("training", train, BLUE, "solid", "circle"),
        ("validation", valid, VERMILLION, "dash", "diamond"),
    ):
        if all(value is None for value in values):
            continue
        figure.add_scatter(
            x=list(epochs),
            y=list(values),
            name=name,
            mode=line_mode(len(epochs)),
            line={"color": colour, "width": 2, "dash": dash},
            marker={"symbol": symbol, "size": 7},
            hovertemplate=f"%{{y:{number_format}}}",
        )
    if best is not None:
        add_mark(figure, best, "best", line={"width": 1, "dash": "dot", "color": GREY}, xanchor="left", xshift=3)
    # Whole numbers alone: Plotly would write 2.5 on the axis of a short run.
    figure.update_xaxes(title_text="epoch", dtick=1 if len(epochs) <= 12 else None, tickformat="d")
    set_score_axis(figure, metric, [*train, *valid])
    return figure.update_layout(hovermode="x unified")


def step_curve(train: ScalarSeries, valid: ScalarSeries | None = None, *, metric: str = "loss") -> go.Figure:
    """Return a scalar at every optimizer step (faint), its running median (bold), and validation after each epoch."""
    figure = empty_figure(height=300)
    # Below eight steps per part the median would follow the noise and add nothing to the raw line.
    raw, median = train.thinned(), train.smoothed(least=8)
    _add_series(figure, raw, name="each step", opacity=0.35, line={"color": BLUE, "width": 1})
    if len(median) < len(train):
        _add_series(figure, median, name="running median", line={"color": BLUE, "width": 2.5})
    if valid is not None and len(valid):
        line, marker = {"color": VERMILLION, "width": 2, "dash": "dash"}, {"symbol": "diamond", "size": 6}
        _add_series(figure, valid.thinned(), name="validation", mode="lines+markers", line=line, marker=marker)
    figure.update_xaxes(title_text="step")
    # Percentiles, so that one spike does not turn the axis logarithmic; all values, where some have no logarithm.
    low, high = np.percentile(train.values, (1, 99)) if len(train) else (math.nan, math.nan)
    set_score_axis(figure, metric, [low, high, *train.values[train.values <= 0]])
    return figure


def rate_curve(rate: ScalarSeries, *, unit: str = "step") -> go.Figure:
    """Return the learning rate over the steps (or epochs)."""
    figure, line = empty_figure(height=300), {"color": GREEN, "width": 2}
    _add_series(figure, rate.thinned(), mode=line_mode(len(rate)), line=line, hover="%{y:.3g}<extra></extra>")
    figure.update_xaxes(title_text=unit)
    # From zero, because a schedule that ends at 0 must look like it.
    figure.update_yaxes(rangemode="tozero", exponentformat="power")
    return figure


def confusion_matrix(labels: Sequence[str], matrix: npt.ArrayLike, totals: Sequence[int] | None = None) -> go.Figure:
    """Return a matrix of counts with true classes in rows; the colour is the share of the row.

    matrix: (C, C) counts.  totals: images per true class where the matrix shows only some of the predicted classes.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    rows = counts.sum(axis=1) if totals is None else np.asarray(totals)
    shares = counts / np.maximum(rows, 1)[:, None]  # a class without images has a row of zeros
    names = [escape_name(name) for name in labels]
    indices, few = list(range(len(labels))), len(labels) <= 12
    figure = empty_figure(height=max(340, 130 + len(labels) * (40 if few else 24)))
    figure.add_heatmap(
        x=indices,
        y=indices,
        z=shares.tolist(),
        zmin=0,
        zmax=1,
        colorscale=_CLEAR_TO_BLUE,
        showscale=False,
        xgap=1,
        ygap=1,
        customdata=[
            [[names[true], names[predicted], int(counts[true, predicted])] for predicted in indices] for true in indices
        ],
        hovertemplate="%{customdata[0]}, predicted as %{customdata[1]}: %{customdata[2]} (%{z:.1%})<extra></extra>",
    )
    for true, predicted in zip(*np.nonzero(counts), strict=True):
        figure.add_annotation(
            x=int(predicted),
            y=int(true),
            text=str(counts[true, predicted]),
            showarrow=False,
            name="on-colour" if shares[true, predicted] > 0.5 else "on-paper",  # the page picks the text colour by this
            font={"size": 13 if few else 10},
        )
    figure.update_xaxes(
        title_text="predicted", side="top", tickangle=-35 if few else -90, showgrid=False, **named_ticks(labels)
    )
    # A matrix is read from the top; Plotly counts from the bottom.
    figure.update_yaxes(title_text="true", showgrid=False, **named_ticks(labels, downwards=True))
    # Plotly hides a slanted label that leaves the figure: the last one needs room.
    if few:
        figure.update_layout(margin_r=min(6 * max(len(clipped(name)) for name in labels), 100))
    return without_zoom(figure)


def per_class_bars(scores: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Return the F1 of each class as a bar, with precision and recall marked on it; the best class on top.

    scores: class name -> {"precision", "recall", "f1", "support"}, each score in [0, 1].
    """
    names = sorted(scores, key=lambda name: scores[name]["f1"])
    figure = empty_figure(height=90 + _ROW * max(len(names), 4))
    add_bars(figure, "F1", [scores[name]["f1"] for name in names], {"color": BLUE, "opacity": 0.45}, hover="%{x:.3f}")
    for key, colour, symbol in (("precision", VERMILLION, "diamond"), ("recall", GREEN, "circle-open")):
        figure.add_scatter(
            x=[scores[name][key] for name in names],
            y=list(range(len(names))),
            name=key,
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 9, "line": {"width": 2, "color": colour}},
            hovertemplate="%{x:.3f}",
        )
    figure.update_xaxes(range=[0, 1], dtick=0.2)
    figure.update_traces(cliponaxis=False)  # markers at 0 and 1 are drawn whole
    figure.update_yaxes(showgrid=False, **named_ticks(names))
    return without_zoom(figure.update_layout(hovermode="y unified", bargap=0.35))


def reliability_diagram(bins: Sequence[Mapping[str, float]]) -> go.Figure:
    """Return accuracy against confidence, with 95 % intervals; on the diagonal they are equal.

    bins: {"confidence", "accuracy", "count"}; empty ones are left out.
    """
    filled = [bin_ for bin_ in bins if bin_["count"]]
    accuracies = [bin_["accuracy"] for bin_ in filled]
    intervals = [wilson(bin_["accuracy"] * bin_["count"], int(bin_["count"])) for bin_ in filled]
    figure = empty_figure(height=340)
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        name="perfect calibration",
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[bin_["confidence"] for bin_ in filled],
        y=accuracies,
        name="this model",
        mode="lines+markers",
        line={"color": BLUE, "width": 2},
        marker={"size": 8},
        error_y=error_bars(accuracies, intervals, thickness=1, width=3),
        customdata=[int(bin_["count"]) for bin_ in filled],
        hovertemplate="confidence %{x:.1%}, accuracy %{y:.1%} (%{customdata} images)<extra></extra>",
    )
    axis = {"range": [0, 1], "tickformat": ".0%", "dtick": 0.2}
    figure.update_traces(cliponaxis=False)
    figure.update_xaxes(title_text="confidence", **axis)
    figure.update_yaxes(title_text="accuracy", **axis)
    return without_zoom(figure)


def class_count_bars(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> go.Figure:
    """Return the images of each class, splits stacked; the class with the most images on top.

    counts: split -> class name -> images.
    """
    totals = {name: sum(split.get(name, 0) for split in counts.values()) for name in classes}
    names = sorted(classes, key=lambda name: totals[name])
    figure = empty_figure(height=100 + _ROW * max(len(names), 4))
    # train, valid, test, predict: hatching tells them apart on paper.
    styles = ((BLUE, ""), (VERMILLION, "/"), (GREEN, "."), (PURPLE, "x"))
    for (split, row), (colour, hatch) in zip(counts.items(), styles, strict=False):
        add_bars(figure, split, [row.get(name, 0) for name in names], hatched(colour, hatch), hover="%{x}")
    figure.update_xaxes(title_text="images")
    figure.update_yaxes(showgrid=False, **named_ticks(names))
    return without_zoom(figure.update_layout(barmode="stack", hovermode="y unified", bargap=0.35))


def size_histogram(bins: Sequence[tuple[str, int]]) -> go.Figure:
    """Return the number of images by their shorter side. bins: (range of pixels as text, images), ascending."""
    figure = empty_figure(height=280)
    figure.add_bar(
        x=list(range(len(bins))),
        y=[count for _, count in bins],
        marker={"color": BLUE, "opacity": 0.8},
        hovertemplate="%{y} images<extra></extra>",
    )
    figure.update_xaxes(title_text="shorter side in pixels", showgrid=False, **named_ticks([name for name, _ in bins]))
    figure.update_yaxes(title_text="images")
    return without_zoom(figure.update_layout(bargap=0.08))


def escape_name(name: str) -> str:
    """Return a name as Plotly needs it to show it unchanged."""
    return html.escape(name, quote=False)


def empty_figure(*, height: int) -> go.Figure:
    """Return a figure without colours and traces, `height` pixels high."""
    layout: dict[str, Any] = {
        "template": "none",  # Plotly's own one adds several kB to every figure
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 34, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": {"automargin": True, "zeroline": False, "title": {"standoff": 8, "font": {"size": 13}}},
        "yaxis": {"automargin": True, "zeroline": False, "title": {"standoff": 8, "font": {"size": 13}}},
    }
    return go.Figure(layout=layout)


def line_mode(points: int) -> str:
    """Return the Plotly mode of a line: with a marker on each point unless they are so many that they hide it."""
    return "lines+markers" if points <= 40 else "lines"


def add_bars(figure: go.Figure, name: str, values: Values, marker: dict[str, Any], hover: str) -> None:
    """Draw a horizontal bar at each whole number, the first at 0."""
    figure.add_bar(
        x=values,
        y=list(range(len(values))),
        name=escape_name(name),
        orientation="h",
        marker=marker,
        hovertemplate=hover,
    )


def hatched(colour: str, hatch: str) -> dict[str, Any]:
    """Return the marker of bars that differ by hatching too."""
    return {"color": colour, "opacity": 0.8, "pattern": {"shape": hatch, "size": 5, "solidity": 0.35}}


def add_mark(
    figure: go.Figure, x: float | None, text: str, *, line: dict[str, Any], y: float = 1, **style: Any
) -> None:
    """Draw a vertical line with a text beside it, at the share `y` of the height."""
    figure.add_vline(x=x, line=line)
    figure.add_annotation(x=x, y=y, yref="paper", text=text, showarrow=False, yanchor="top", **style)


def error_bars(values: Sequence[float], intervals: Sequence[Interval], **style: Any) -> dict[str, Any]:
    """Return the error bars of points, from their intervals."""
    pairs = list(zip(values, intervals, strict=True))
    above, below = [ends.high - value for value, ends in pairs], [value - ends.low for value, ends in pairs]
    return {"symmetric": False, "array": above, "arrayminus": below, **style}


def named_ticks(names: Sequence[str], *, downwards: bool = False) -> dict[str, Any]:
    """Return the settings of an axis with one name at each whole number, the first at 0; downwards: 0 on top."""
    ends = [-0.5, len(names) - 0.5]
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        # Positions instead of names: Plotly merges equal names, and reads "1" as a number.
        "ticktext": [escape_name(clipped(name)) for name in names],
        "range": ends[::-1] if downwards else ends,
    }


def without_zoom(figure: go.Figure) -> go.Figure:
    """Return the figure with axes that do not zoom, so that dragging over it on a phone scrolls the page."""
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    return figure


def _add_series(
    figure: go.Figure, series: ScalarSeries, *, mode: str = "lines", hover: str = "%{y:.4g}", **style: Any
) -> None:
    figure.add_scatter(x=series.steps.tolist(), y=series.values.tolist(), mode=mode, hovertemplate=hover, **style)
