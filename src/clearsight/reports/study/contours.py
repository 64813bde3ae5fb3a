"""The section of contours: the objective over the two numeric fields that matter most, as a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from clearsight.core.trial import Objective, Trial
from clearsight.reports.charts.learning import blank, escaped, still
from clearsight.reports.kit.format import several
from clearsight.reports.kit.section import PageSection, Panel, table
from clearsight.reports.study.field_axis import FieldAxis, said
from clearsight.reports.study.metric import hover, named, short, titled, written
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.slices import RING

Floats = npt.NDArray[np.float64]
_LEAST = 8  # trials that a surface is laid through; fewer are drawn as points alone
_GRID = 60
_FAR = 0.25  # of the side of the map: where no trial is nearer, nothing is claimed
_ROWS = 40
_LEVELS = 10
_PALE_TO_BLUE = [[0, "rgba(0,114,178,0.05)"], [1, "rgba(0,114,178,0.9)"]]
_BLUE_TO_PALE = [[0, "rgba(0,114,178,0.9)"], [1, "rgba(0,114,178,0.05)"]]


def contours(facts: StudyReportData) -> PageSection | None:
    """None where fewer than two numeric fields were varied in complete trials."""
    axes = [FieldAxis.of(name, facts.plan.space, facts.scored) for name in facts.weighty]
    ranges = [one for one in axes if not one.choices and sum(one.holds(trial.params) for trial in facts.scored) > 1]
    if len(ranges) < 2:
        return None
    across, up = ranges[:2]
    shown = [trial for trial in facts.scored if across.holds(trial.params) and up.holds(trial.params)]
    if not shown:
        return None
    aim, surface = facts.aim, len(shown) >= _LEAST
    title = f"{titled(aim.metric)} over {across.name} and {up.name}"
    best = max(shown, key=lambda one: one.values[0] if aim.direction == "maximize" else -one.values[0])
    near = f"the best of them at {across.name} {said(best.params[across.name])}, {up.name} {said(best.params[up.name])}"
    panel = Panel(
        key="study-contour",
        title=title,
        says=f"{titled(aim.metric)} of {several(len(shown), 'trial')} over {across.name} and {up.name}; {near}.",
        figure=_figure(aim, across, up, shown, surface=surface),
        table=table(
            title if len(shown) <= _ROWS else f"{title}, the best {_ROWS} trials",
            (across.name, up.name, named(aim.metric), "trial"),
            "rrrr",
            _rows(aim, across, up, shown),
        ),
        note="Between the trials the map is drawn by their distance (Shepard 1968); it stays empty where none is near."
        if surface
        else f"With fewer than {_LEAST} trials there is nothing to draw between them.",
        wide=True,
    )
    return PageSection(
        key="contours", title="Contours", template="study_panels.html", values={"about": ""}, panels=(panel,)
    )


def interpolated(places: Floats, values: Floats, grid: Floats) -> Floats:
    """Values at points of a grid, weighted by the inverse square of the distance; NaN where no place is near.

    places: (N, 2) and grid: (G, 2) in the unit square.  values: (N,).  Returns (G,).
    Source: Shepard 1968, "A two-dimensional interpolation function for irregularly-spaced data".
    """
    squared = ((grid[:, None, :] - places[None, :, :]) ** 2).sum(axis=2)
    weights = 1.0 / np.maximum(squared, 1e-9)
    found: Floats = (weights * values).sum(axis=1) / weights.sum(axis=1)
    found[squared.min(axis=1) > _FAR**2] = np.nan
    return found


def _figure(aim: Objective, across: FieldAxis, up: FieldAxis, shown: Sequence[Trial], *, surface: bool) -> go.Figure:
    figure = blank(height=440)
    values = np.array([trial.values[0] for trial in shown])
    scale = _PALE_TO_BLUE if aim.direction == "maximize" else _BLUE_TO_PALE  # dark is better
    # Lost trials must not take all the shades from the good ones: the worst quarter shares the palest.
    low, high = (float(end) for end in np.percentile(values, (25, 100) if aim.direction == "maximize" else (0, 75)))
    shades: dict[str, Any] = {"colorscale": scale, "cmin": low, "cmax": high}
    if surface:
        figure.add_trace(_surface(across, up, shown, values, shades))
    figure.add_scatter(
        x=[short(across.at(trial.params)) for trial in shown],
        y=[short(up.at(trial.params)) for trial in shown],
        mode="markers",
        marker={
            "size": 9 if len(shown) <= 100 else 6,
            "color": [short(value) for value in values],
            "line": {"width": 1, "color": "#808080"},
            "showscale": True,
            "colorbar": {
                "thickness": 10,
                "outlinewidth": 0,
                "tickformat": ".0%" if aim.metric == "accuracy" else None,
                "nticks": 6,
            },
            **shades,
        },
        customdata=[trial.number for trial in shown],
        hovertemplate=f"trial %{{customdata}}: {hover(aim.metric, 'marker.color')}<extra></extra>",
        showlegend=False,
    )
    best = int(values.argmax() if aim.direction == "maximize" else values.argmin())
    figure.add_scatter(
        x=[short(across.at(shown[best].params))],
        y=[short(up.at(shown[best].params))],
        mode="markers",
        marker=RING,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(title_text=escaped(across.name), **across.look())
    figure.update_yaxes(title_text=escaped(up.name), **up.look())
    return still(figure.update_layout(hovermode="closest", margin_t=12))


def _surface(
    across: FieldAxis,
    up: FieldAxis,
    shown: Sequence[Trial],
    values: Floats,
    shades: Mapping[str, Any],
) -> go.Contour:
    low, high = shades["cmin"], shades["cmax"]
    places = np.array([(across.share(trial.params), up.share(trial.params)) for trial in shown])
    side = np.linspace(0, 1, _GRID)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    found = interpolated(places, values, grid).reshape(_GRID, _GRID)
    return go.Contour(
        x=[short(across.value(share)) for share in side],
        y=[short(up.value(share)) for share in side],
        z=[[short(value) for value in row] for row in found],
        zmin=low,
        zmax=high,
        autocontour=False,
        contours={"start": low, "end": high, "size": max((high - low) / _LEVELS, 1e-9)},
        opacity=0.55,
        colorscale=shades["colorscale"],
        showscale=False,
        line={"width": 0.5, "color": "rgba(128,128,128,0.6)"},
        hoverinfo="skip",
    )


def _rows(aim: Objective, across: FieldAxis, up: FieldAxis, shown: Sequence[Trial]) -> list[tuple[object, ...]]:
    first = sorted(shown, key=lambda one: one.values[0], reverse=aim.direction == "maximize")[:_ROWS]
    return [
        (said(one.params[across.name]), said(one.params[up.name]), written(aim.metric, one.values[0]), one.number)
        for one in first
    ]
