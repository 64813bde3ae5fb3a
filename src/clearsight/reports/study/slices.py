"""Sections of the slices and the contours: the objective against each setting that varies, and over two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import Objective, Trial
from clearsight.reports.charts.axes import score_axis
from clearsight.reports.charts.learning import GREY, VERMILLION, empty_figure, escape_name, without_zoom
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.field_axis import FieldAxis, value_text
from clearsight.reports.study.metric import (
    format_metric,
    hover_format,
    metric_name,
    metric_title,
    ranked,
    set_value_axis,
)
from clearsight.reports.study.report_data import StudyReportData

Floats = npt.NDArray[np.float64]
_ROWS = 40
_LETTERS = 36  # below an axis
_LATER = [[0, "rgba(0,114,178,0.18)"], [1, "rgba(0,114,178,1)"]]  # colours from the first to the last trial
_RING = {"symbol": "circle-open", "size": 15, "color": VERMILLION, "line": {"width": 2.5, "color": VERMILLION}}
_SURFACE_TRIALS = 8  # fewer are drawn as points alone: a surface through them would be invented
_GRID = 60  # points per side of a map
_FAR = 0.25  # of the side of the map; where no trial is nearer, the map stays empty
_LEVELS = 10
_PALE_TO_BLUE = [[0, "rgba(0,114,178,0.05)"], [1, "rgba(0,114,178,0.9)"]]
_BLUE_TO_PALE = [[0, "rgba(0,114,178,0.9)"], [1, "rgba(0,114,178,0.05)"]]
_ABOUT = "Every complete trial at its value of one setting; a fuller colour is a later trial, the ring is the best."


def slices(report: StudyReportData) -> PageSection | None:
    """Return the section, the most important settings first; None before the first complete trial."""
    if not report.scored:
        return None
    panels = []
    for name in report.settings_by_importance:
        axis = FieldAxis.of(name, report.plan.space, report.scored)
        trials = [trial for trial in report.scored if axis.holds(trial.params)]
        if trials:
            panels.append(_slice_panel(report, axis, trials))
    return panels_section("slices", "Slices", panels, _ABOUT) if panels else None


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
    if not trials:
        return None
    return panels_section("contours", "Contours", [_contour_panel(report.objective, across, up, trials)])


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


def _slice_panel(report: StudyReportData, axis: FieldAxis, trials: Sequence[Trial]) -> Panel:
    objective, best, missing = report.objective, report.best_trial, len(report.scored) - len(trials)
    subject = metric_title(objective.metric)
    title = f"{subject} by {axis.name}"
    has_best = best is not None and axis.holds(best.params)
    best_text = f"; the best has {value_text(best.params[axis.name])}" if best is not None and has_best else ""
    # The best trials, because slices are read for them, in the order of the setting.
    ordered = sorted(ranked(trials, objective)[:_ROWS], key=lambda trial: axis.position(trial.params))
    return Panel(
        key=f"study-slice-{axis.name}",
        title=title,
        description=f"{subject} of {several(len(trials), 'trial')} against {axis.name}{best_text}.",
        figure=_slice_figure(objective, axis, trials, best),
        table=_best_table(title, objective, [axis], ordered, total=len(trials)),
        note=f"The setting does not apply to {several(missing, 'other complete trial')}." if missing else "",
    )


def _slice_figure(objective: Objective, axis: FieldAxis, trials: Sequence[Trial], best: Trial | None) -> go.Figure:
    # Long names have room beside an axis, not below it.
    horizontal = sum(len(value_text(value)) for value in axis.choices) > _LETTERS
    figure = empty_figure(height=90 + 34 * len(axis.choices) if horizontal else 270)  # a row of names is 34 high
    positions = [rounded(position) for position in _positions(axis, trials)]
    values = [rounded(trial.values[0]) for trial in trials]
    across, up = (values, positions) if horizontal else (positions, values)
    hover = hover_format(objective.metric, "x" if horizontal else "y")
    figure.add_scatter(
        x=across,
        y=up,
        mode="markers",
        marker={
            "size": 8 if len(trials) <= 100 else 6,
            "color": list(range(len(trials))),  # by order: a search that moves to good values darkens there
            "colorscale": _LATER,
            "line": {"width": 1, "color": "rgba(0,114,178,0.6)"},
        },
        customdata=[[trial.number, value_text(trial.params[axis.name])] for trial in trials],
        hovertemplate=f"trial %{{customdata[0]}}: {hover}<extra></extra>",
        showlegend=False,
    )
    if best is not None and best in trials:
        _add_ring(figure, across[trials.index(best)], up[trials.index(best)])
    (figure.update_yaxes if horizontal else figure.update_xaxes)(**axis.layout())
    set_value_axis(figure, objective, [t.values[0] for t in trials], axis="x" if horizontal else "y", nticks=5)
    return without_zoom(figure.update_layout(hovermode="closest", margin_t=12))


def _positions(axis: FieldAxis, trials: Sequence[Trial]) -> list[float]:
    """Return positions on the axis; trials of one choice lie side by side, in order, instead of on each other."""
    positions = [axis.position(trial.params) for trial in trials]
    if not axis.choices:
        return positions
    # Half the distance between two choices, so that neighbours do not mix.
    total = {position: positions.count(position) for position in positions}
    seen, spread = dict.fromkeys(positions, 0), []
    for position in positions:
        spread.append(position + 0.5 * ((seen[position] + 0.5) / total[position] - 0.5))
        seen[position] += 1
    return spread


def _best_table(
    title: str, objective: Objective, axes: Sequence[FieldAxis], listed: Sequence[Trial], *, total: int
) -> Table:
    """Return a row for each of the listed trials, which are the best of all `total` trials."""
    rows = [
        (
            *(value_text(trial.params[axis.name]) for axis in axes),
            format_metric(objective.metric, trial.values[0]),
            trial.number,
        )
        for trial in listed
    ]
    columns = (*(axis.name for axis in axes), metric_name(objective.metric), "trial")
    return table(title if total <= _ROWS else f"{title}, the best {_ROWS} trials", columns, "r" * len(columns), rows)


def _add_ring(figure: go.Figure, x: float | None, y: float | None) -> None:
    """Draw a ring around the best trial."""
    figure.add_scatter(x=[x], y=[y], mode="markers", marker=_RING, hoverinfo="skip", showlegend=False)


def _contour_panel(objective: Objective, across: FieldAxis, up: FieldAxis, trials: Sequence[Trial]) -> Panel:
    has_surface = len(trials) >= _SURFACE_TRIALS
    title = f"{metric_title(objective.metric)} over {across.name} and {up.name}"
    listed = ranked(trials, objective)[:_ROWS]
    best = listed[0].params
    best_text = f"{across.name} {value_text(best[across.name])}, {up.name} {value_text(best[up.name])}"
    return Panel(
        key="study-contour",
        title=title,
        description=f"{title} in {several(len(trials), 'trial')}; the best of them has {best_text}.",
        figure=_contour_figure(objective, across, up, trials, has_surface=has_surface),
        table=_best_table(title, objective, [across, up], listed, total=len(trials)),
        note="Between the trials the map is interpolated by distance (Shepard 1968); far from all trials it is empty."
        if has_surface
        else f"With fewer than {_SURFACE_TRIALS} trials the map is not interpolated.",
        wide=True,
    )


def _contour_figure(
    objective: Objective, across: FieldAxis, up: FieldAxis, trials: Sequence[Trial], *, has_surface: bool
) -> go.Figure:
    figure = empty_figure(height=440)
    values, upwards = np.array([trial.values[0] for trial in trials]), objective.direction == "maximize"
    scale = _PALE_TO_BLUE if upwards else _BLUE_TO_PALE  # dark is better
    # Trials that went wrong must not take all the shades from the good ones: the worst quarter shares the palest.
    low, high = (float(end) for end in np.percentile(values, (25, 100) if upwards else (0, 75)))
    shades: dict[str, Any] = {"colorscale": scale, "cmin": low, "cmax": high}
    percents = score_axis(objective.metric, [low, high]).get("tickformat")
    if has_surface:
        figure.add_trace(_surface(across, up, trials, values, shades))
    figure.add_scatter(
        x=[rounded(across.position(trial.params)) for trial in trials],
        y=[rounded(up.position(trial.params)) for trial in trials],
        mode="markers",
        marker={
            "size": 9 if len(trials) <= 100 else 6,
            "color": [rounded(value) for value in values],
            "line": {"width": 1, "color": GREY},
            "showscale": True,
            "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": percents, "nticks": 6},
            **shades,
        },
        customdata=[trial.number for trial in trials],
        hovertemplate=f"trial %{{customdata}}: {hover_format(objective.metric, 'marker.color')}<extra></extra>",
        showlegend=False,
    )
    best = ranked(trials, objective)[0].params
    _add_ring(figure, rounded(across.position(best)), rounded(up.position(best)))
    figure.update_xaxes(title_text=escape_name(across.name), **across.layout())
    figure.update_yaxes(title_text=escape_name(up.name), **up.layout())
    return without_zoom(figure.update_layout(hovermode="closest", margin_t=12))


def _surface(
    across: FieldAxis, up: FieldAxis, trials: Sequence[Trial], values: Floats, shades: Mapping[str, Any]
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
