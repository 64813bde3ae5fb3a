"""Section of the slices: the objective against each setting that varies, one small chart per setting."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import Objective, Trial
from clearsight.reports.charts.learning import VERMILLION, empty_figure, without_zoom
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.field_axis import FieldAxis, value_text
from clearsight.reports.study.metric import format_metric, hover_format, metric_name, metric_title, value_axis
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
_LETTERS = 36  # below an axis
_PALE_TO_BLUE = [[0, "rgba(0,114,178,0.18)"], [1, "rgba(0,114,178,1)"]]
BEST_RING = {"symbol": "circle-open", "size": 15, "color": VERMILLION, "line": {"width": 2.5, "color": VERMILLION}}
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
            panels.append(_panel(report, axis, trials))
    return panels_section("slices", "Slices", panels, _ABOUT) if panels else None


def _panel(report: StudyReportData, axis: FieldAxis, trials: Sequence[Trial]) -> Panel:
    objective, title = report.objective, f"{metric_title(report.objective.metric)} by {axis.name}"
    missing = len(report.scored) - len(trials)
    best = report.best_trial
    has_best = best is not None and axis.holds(best.params)
    best_text = f"; the best has {value_text(best.params[axis.name])}" if best is not None and has_best else ""
    subject = metric_title(objective.metric)
    return Panel(
        key=f"study-slice-{axis.name}",
        title=title,
        description=f"{subject} of {several(len(trials), 'trial')} against {axis.name}{best_text}.",
        figure=_figure(objective, axis, trials, best),
        table=_table(title, objective, axis, trials),
        note=f"The setting does not apply to {several(missing, 'other complete trial')}." if missing else "",
    )


def _figure(objective: Objective, axis: FieldAxis, trials: Sequence[Trial], best: Trial | None) -> go.Figure:
    horizontal = _has_long_names(axis)  # long names have room beside an axis, not below it
    figure = empty_figure(height=90 + 34 * len(axis.choices) if horizontal else 270)  # a row of names is 34 high
    positions = [rounded(position) for position in _positions(axis, trials)]
    values = [rounded(trial.values[0]) for trial in trials]
    across, up = (values, positions) if horizontal else (positions, values)
    figure.add_scatter(
        x=across,
        y=up,
        mode="markers",
        marker={
            "size": 8 if len(trials) <= 100 else 6,
            "color": list(range(len(trials))),  # by order: a search that moves to good values darkens there
            "colorscale": _PALE_TO_BLUE,
            "line": {"width": 1, "color": "rgba(0,114,178,0.6)"},
        },
        customdata=[[trial.number, value_text(trial.params[axis.name])] for trial in trials],
        hovertemplate=f"trial %{{customdata[0]}}: {hover_format(objective.metric, 'x' if horizontal else 'y')}"
        "<extra></extra>",
        showlegend=False,
    )
    if best is not None and best in trials:
        figure.add_scatter(
            x=[across[trials.index(best)]],
            y=[up[trials.index(best)]],
            mode="markers",
            marker=BEST_RING,
            hoverinfo="skip",
            showlegend=False,
        )
    axes = [axis.layout(), {**value_axis(objective, [trial.values[0] for trial in trials]), "nticks": 5}]
    x_axis, y_axis = axes[::-1] if horizontal else axes
    figure.update_xaxes(**x_axis)
    figure.update_yaxes(**y_axis)
    return without_zoom(figure.update_layout(hovermode="closest", margin_t=12))


def _has_long_names(axis: FieldAxis) -> bool:
    return sum(len(value_text(value)) for value in axis.choices) > _LETTERS


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


def _table(title: str, objective: Objective, axis: FieldAxis, trials: Sequence[Trial]) -> Table:
    """Return the best of the trials, because slices are read for them, in the order of the setting."""
    best = sorted(trials, key=lambda trial: trial.values[0], reverse=objective.direction == "maximize")[:_ROWS]
    ordered = sorted(best, key=lambda trial: axis.position(trial.params))
    rows = [
        (value_text(trial.params[axis.name]), format_metric(objective.metric, trial.values[0]), trial.number)
        for trial in ordered
    ]
    caption = title if len(best) == len(trials) else f"{title}, the best {_ROWS} trials"
    return table(caption, (axis.name, metric_name(objective.metric), "trial"), "rrr", rows)
