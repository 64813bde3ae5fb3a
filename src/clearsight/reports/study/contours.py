"""Section of the contours: the objective over the two most important numeric settings, as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import Objective, Trial
from clearsight.reports.charts.learning import empty_figure, escape_name, without_zoom
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.field_axis import FieldAxis, value_text
from clearsight.reports.study.metric import format_metric, hover_format, metric_name, metric_title
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.slices import BEST_RING

Floats = npt.NDArray[np.float64]
_SURFACE_TRIALS = 8  # fewer are drawn as points alone: a surface through them would be invented
_GRID = 60  # points per side
_FAR = 0.25  # of the side of the map; where no trial is nearer, the map stays empty
_ROWS = 40
_LEVELS = 10
_PALE_TO_BLUE = [[0, "rgba(0,114,178,0.05)"], [1, "rgba(0,114,178,0.9)"]]
_BLUE_TO_PALE = [[0, "rgba(0,114,178,0.9)"], [1, "rgba(0,114,178,0.05)"]]


def contours(report: StudyReportData) -> PageSection | None:
    """Return the section; None where fewer than two numeric settings vary in complete trials."""
    axes = [FieldAxis.of(name, report.plan.space, report.scored) for name in report.settings_by_importance]
    numeric = [
        axis for axis in axes if not axis.choices and sum(axis.holds(trial.params) for trial in report.scored) > 1
    ]
    if len(numeric) < 2:
        return None
    across, up = numeric[:2]
    # A conditional setting is missing in some trials; they have no place on the map.
    trials = [trial for trial in report.scored if across.holds(trial.params) and up.holds(trial.params)]
    return panels_section("contours", "Contours", [_panel(report.objective, across, up, trials)]) if trials else None


def interpolated(places: Floats, values: Floats, grid: Floats) -> Floats:
    """Return values at points of a grid, weighted by the inverse squared distance; NaN where no place is near.

    places: (N, 2) and grid: (G, 2) in the unit square.  values: (N,).  Returns (G,).
    Source: Shepard 1968, "A two-dimensional interpolation function for irregularly-spaced data".
    """
    squared = ((grid[:, None, :] - places[None, :, :]) ** 2).sum(axis=2)
    weights = 1.0 / np.maximum(squared, 1e-9)  # a grid point may lie on a trial
    means: Floats = (weights * values).sum(axis=1) / weights.sum(axis=1)
    means[squared.min(axis=1) > _FAR**2] = np.nan
    return means


def _panel(objective: Objective, across: FieldAxis, up: FieldAxis, trials: Sequence[Trial]) -> Panel:
    has_surface = len(trials) >= _SURFACE_TRIALS
    title = f"{metric_title(objective.metric)} over {across.name} and {up.name}"
    upwards = objective.direction == "maximize"
    best = max(trials, key=lambda trial: trial.values[0] if upwards else -trial.values[0])
    best_text = f"{across.name} {value_text(best.params[across.name])}, {up.name} {value_text(best.params[up.name])}"
    return Panel(
        key="study-contour",
        title=title,
        description=f"{title} in {several(len(trials), 'trial')}; the best of them has {best_text}.",
        figure=_figure(objective, across, up, trials, has_surface=has_surface),
        table=_table(title, objective, across, up, trials),
        note="Between the trials the map is interpolated by distance (Shepard 1968); far from all trials it is empty."
        if has_surface
        else f"With fewer than {_SURFACE_TRIALS} trials the map is not interpolated.",
        wide=True,
    )


def _figure(
    objective: Objective, across: FieldAxis, up: FieldAxis, trials: Sequence[Trial], *, has_surface: bool
) -> go.Figure:
    figure = empty_figure(height=440)
    values, upwards = np.array([trial.values[0] for trial in trials]), objective.direction == "maximize"
    scale = _PALE_TO_BLUE if upwards else _BLUE_TO_PALE  # dark is better
    # Trials that went wrong must not take all the shades from the good ones: the worst quarter shares the palest.
    low, high = (float(end) for end in np.percentile(values, (25, 100) if upwards else (0, 75)))
    shades: dict[str, Any] = {"colorscale": scale, "cmin": low, "cmax": high}
    if has_surface:
        figure.add_trace(_surface(across, up, trials, values, shades))
    figure.add_scatter(
        x=[rounded(across.position(trial.params)) for trial in trials],
        y=[rounded(up.position(trial.params)) for trial in trials],
        mode="markers",
        marker={
            "size": 9 if len(trials) <= 100 else 6,
            "color": [rounded(value) for value in values],
            "line": {"width": 1, "color": "#808080"},
            "showscale": True,
            "colorbar": {
                "thickness": 10,
                "outlinewidth": 0,
                "tickformat": ".0%" if objective.metric == "accuracy" else None,
                "nticks": 6,
            },
            **shades,
        },
        customdata=[trial.number for trial in trials],
        hovertemplate=f"trial %{{customdata}}: {hover_format(objective.metric, 'marker.color')}<extra></extra>",
        showlegend=False,
    )
    best = trials[int(values.argmax() if upwards else values.argmin())]
    figure.add_scatter(
        x=[rounded(across.position(best.params))],
        y=[rounded(up.position(best.params))],
        mode="markers",
        marker=BEST_RING,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(title_text=escape_name(across.name), **across.layout())
    figure.update_yaxes(title_text=escape_name(up.name), **up.layout())
    return without_zoom(figure.update_layout(hovermode="closest", margin_t=12))


def _surface(
    across: FieldAxis,
    up: FieldAxis,
    trials: Sequence[Trial],
    values: Floats,
    shades: Mapping[str, Any],
) -> go.Contour:
    low, high = shades["cmin"], shades["cmax"]
    places = np.array([(across.share(trial.params), up.share(trial.params)) for trial in trials])
    side = np.linspace(0, 1, _GRID)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    surface = interpolated(places, values, grid).reshape(_GRID, _GRID)
    return go.Contour(
        x=[rounded(across.value(share)) for share in side],
        y=[rounded(up.value(share)) for share in side],
        z=[[rounded(value) for value in row] for row in surface],
        zmin=low,
        zmax=high,
        autocontour=False,
        contours={"start": low, "end": high, "size": max((high - low) / _LEVELS, 1e-9)},  # trials may all be equal
        opacity=0.55,
        colorscale=shades["colorscale"],
        showscale=False,
        line={"width": 0.5, "color": "rgba(128,128,128,0.6)"},
        hoverinfo="skip",
    )


def _table(title: str, objective: Objective, across: FieldAxis, up: FieldAxis, trials: Sequence[Trial]) -> Table:
    """Return the best of the trials, the best first."""
    best = sorted(trials, key=lambda trial: trial.values[0], reverse=objective.direction == "maximize")[:_ROWS]
    rows = [
        (
            value_text(trial.params[across.name]),
            value_text(trial.params[up.name]),
            format_metric(objective.metric, trial.values[0]),
            trial.number,
        )
        for trial in best
    ]
    caption = title if len(trials) <= _ROWS else f"{title}, the best {_ROWS} trials"
    return table(caption, (across.name, up.name, metric_name(objective.metric), "trial"), "rrrr", rows)
