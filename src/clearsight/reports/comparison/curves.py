"""Section of the curves of a comparison: loss by step and scores by epoch of all runs, and a chart of their accuracy.

Runs differ by dash, marker and colour, so colour is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.statistics import Interval
from clearsight.reports.charts.axes import set_score_axis
from clearsight.reports.charts.learning import (
    BLUE,
    DASHES,
    GREEN,
    PURPLE,
    VERMILLION,
    empty_figure,
    error_bars,
    escape_name,
    named_ticks,
    without_zoom,
)
from clearsight.reports.charts.series import series_by_name
from clearsight.reports.comparison.run import ComparedRun
from clearsight.reports.kit.format import clipped, general, percent
from clearsight.reports.kit.section import PageSection, Panel, panels_section, table

_POINTS = 120  # of a curve by step
_ROWS = 20  # of a curve by step, in its table
_NARROW = 4  # columns that a table in half the width has room for
# The palette's yellow and black, darkened and lightened until they can be seen on white and on black.
_OCHRE, _GREY = "#8A6A00", "#767676"
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, _OCHRE, _GREY)
_MARKERS = ("circle", "diamond", "square", "triangle-up", "x", "star")
_OPEN = "-open"  # markers from the seventh run on, which repeat the colours
_MARKERS_PER_CURVE = 8
MAX_RUNS = len(_COLOURS) * 2


def curves(runs: Sequence[ComparedRun]) -> PageSection | None:
    """Return loss by step and scores by epoch of all runs; None before the first step of any."""
    panels = [_step_loss(runs), _by_epoch(runs, "loss"), _by_epoch(runs, "accuracy")]
    shown = [panel for panel in panels if panel is not None]
    return panels_section("curves", "Training", shown) if shown else None


@dataclass(frozen=True)
class OverlayCurve:
    """Values of a run; None leaves a gap. index: of the run, 0 to 11, so that it looks the same in every chart."""

    name: str
    index: int
    steps: Sequence[int]
    values: Sequence[float | None]


def overlay(curves: Sequence[OverlayCurve], *, unit: str, metric: str) -> go.Figure:
    """Return the curves of a score over steps or epochs."""
    figure = empty_figure(height=330 + 14 * len(curves))  # the legend has a line for about two runs
    number_format = ".1%" if metric == "accuracy" else ".4g"
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
    set_score_axis(figure, metric, [value for curve in curves for value in curve.values])
    return figure.update_layout(hovermode="x unified", showlegend=True)


def interval_chart(scores: Sequence[tuple[str, int, float, Interval | None]]) -> go.Figure:
    """Return accuracies with their 95 % intervals, the best on top. scores: (name, index, accuracy, interval)."""
    ordered = sorted(scores, key=lambda score: score[2])
    figure = empty_figure(height=110 + 30 * max(len(ordered), 3))
    for row, (name, index, share, interval) in enumerate(ordered):
        colour, _, symbol = run_style(index)
        interval = interval or Interval(share, share)
        figure.add_scatter(
            x=[share],
            y=[row],
            name=escape_name(clipped(name)),
            mode="markers",
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 1, "color": colour}},
            error_x=error_bars([share], [interval], thickness=2, width=5, color=colour),
            hovertemplate=f"%{{x:.1%}} ({interval.low:.1%} to {interval.high:.1%})",
        )
    ends = [end for _, _, share, interval in ordered for end in (interval or (share,))]
    set_score_axis(figure, "accuracy", ends, axis="x")
    figure.update_yaxes(showgrid=False, **named_ticks([name for name, *_ in ordered]))
    return without_zoom(figure.update_layout(showlegend=False))


def run_style(index: int) -> tuple[str, str, str]:
    """Return colour, dash and marker of the run with an index from 0 to 11; no two share dash and marker."""
    cycle, index = divmod(index, len(_COLOURS))
    return (
        _COLOURS[index],
        DASHES[(index + cycle) % len(DASHES)],  # shifted, so that the same colour has another dash
        _MARKERS[index] + (_OPEN if cycle else ""),
    )


def _step_loss(runs: Sequence[ComparedRun]) -> Panel | None:
    by_run = [series_by_name(run.report.steps).get(("train", "loss")) for run in runs]
    losses = [(run.label, i, loss) for i, (run, loss) in enumerate(zip(runs, by_run, strict=True)) if loss]
    if not losses:
        return None
    lines, rows = [], []
    for label, index, loss in losses:
        # Runs of a few steps are drawn as they are; a median would take their only points.
        smooth = loss.smoothed(_POINTS, least=4 if len(loss) > _POINTS else 1)
        lines.append(OverlayCurve(label, index, smooth.steps.tolist(), smooth.values.tolist()))
        listed = loss.smoothed(_ROWS)
        rows += [(label, step, general(value)) for step, value in zip(listed.steps, listed.values, strict=True)]
    title = "Training loss by step"
    return Panel(
        key="step-loss",
        title=title,
        description=f"Training loss of {several(len(losses), 'run')} by step; of long runs the running median.",
        figure=overlay(lines, unit="step", metric="loss"),
        table=table(title, ("run", "step", "loss"), "lrr", rows),
        wide=True,
    )


def _by_epoch(runs: Sequence[ComparedRun], name: str) -> Panel | None:
    curves = []
    for index, run in enumerate(runs):
        values = {epoch["epoch"]: epoch["valid"][name] for epoch in run.report.epochs if name in epoch["valid"]}
        if values:
            curves.append(OverlayCurve(run.label, index, list(values), list(values.values())))
    if not curves:
        return None
    text: Callable[[float | None], str] = percent if name == "accuracy" else general
    columns = [dict(zip(curve.steps, curve.values, strict=True)) for curve in curves]
    rows = [(epoch, *(text(column.get(epoch)) for column in columns)) for epoch in sorted(set().union(*columns))]
    title = f"Validation {name} by epoch"
    return Panel(
        key=f"epoch-{name}",
        title=title,
        description=f"Validation {name} of {several(len(curves), 'run')} after each epoch.",
        figure=overlay(curves, unit="epoch", metric=name),
        table=table(title, ("epoch", *(curve.name for curve in curves)), "r" * (len(curves) + 1), rows),
        wide=len(curves) > _NARROW,
    )
