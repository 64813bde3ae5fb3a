"""Section of the curves: the first objective by epoch of every trial; curves of pruned trials are dashed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import SCORES, Trial, TrialState
from clearsight.reports.charts.learning import BLUE, GREY, VERMILLION, empty_figure
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.metric import format_metric, hover_format, metric_name, metric_title, set_value_axis
from clearsight.reports.study.report_data import StudyReportData

_POINTS = 60  # of a curve
_ROWS = 60
_MANY = 60  # curves, from which on each is drawn fainter

# name in the legend, state, colour, dash, marker
_STYLES = (
    ("complete", TrialState.COMPLETE, BLUE, "solid", "circle"),
    ("pruned", TrialState.PRUNED, VERMILLION, "dash", "triangle-down"),
    ("failed", TrialState.FAILED, GREY, "dot", "x"),
    ("running", TrialState.RUNNING, GREY, "solid", "circle-open"),
)


def curves(report: StudyReportData) -> PageSection | None:
    """Return the section; None before the first epoch of any trial, and for an objective without a curve."""
    # The curve of a reused trial is that of its original.
    trials = [trial for trial in report.own_trials if trial.curve and trial.same_as is None]
    metric = report.objective.metric
    if not trials or metric not in SCORES:
        return None
    title = f"Validation {metric_name(metric)} by epoch"
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    panel = Panel(
        key="study-curves",
        title=title,
        description=f"{metric_title(metric)} by epoch of {several(len(trials), 'trial')}, {pruned} of them pruned.",
        figure=_figure(report, trials),
        table=_table(title, report, trials),
        wide=True,
    )
    return panels_section("curves", "Curves", [panel])


def _figure(report: StudyReportData, trials: Sequence[Trial]) -> go.Figure:
    figure, best = empty_figure(height=400), report.best_trial
    opacity = 0.55 if len(trials) <= _MANY else 0.25
    for name, state, colour, dash, symbol in _STYLES:
        group = [trial for trial in trials if trial.state is state and trial is not best]
        if group:
            figure.add_scatter(
                **_trace(group, report),
                name=name,
                opacity=opacity,
                line={"color": colour, "width": 1.5, "dash": dash},
                marker={"symbol": symbol, "size": _sizes(group, many=len(trials) > _MANY), "color": colour},
            )
    if best is not None and best in trials:
        figure.add_scatter(
            **_trace([best], report),
            name=f"best (trial {best.number})",
            line={"color": BLUE, "width": 3.5},
            marker={"symbol": "circle", "size": 6, "color": BLUE},
        )
    longest = max(max(trial.curve) for trial in trials)
    figure.update_xaxes(title_text="epoch", tickformat="d", dtick=1 if longest <= 12 else None)
    set_value_axis(figure, report.objective, [value for trial in trials for value in trial.curve.values()])
    return figure.update_layout(hovermode="closest", showlegend=True)


def _trace(group: Sequence[Trial], report: StudyReportData) -> dict[str, Any]:
    """Return the curves of several trials as one trace with a gap after each.

    One trace for each trial would make the page large and the legend endless.
    """
    corners: list[tuple[int, float | None, int]] = []
    for trial in group:
        points = _thinned(trial)
        corners += [(epoch, rounded(value), trial.number) for epoch, value in points]
        corners.append((points[-1][0], None, trial.number))
    return {
        "x": [epoch for epoch, _, _ in corners],
        "y": [value for _, value, _ in corners],
        "customdata": [number for *_, number in corners],
        "mode": "lines+markers",
        "hovertemplate": f"trial %{{customdata}}, epoch %{{x}}: {hover_format(report.objective.metric)}<extra></extra>",
    }


def _sizes(group: Sequence[Trial], *, many: bool) -> list[int]:
    """Return marker sizes that show the end of each curve alone; of many curves only the ends that came early."""
    end = 0 if many and group[0].state is TrialState.COMPLETE else 5 if many else 8
    return [size for trial in group for size in [*[0] * (len(_thinned(trial)) - 1), end, 0]]


def _thinned(trial: Trial) -> list[tuple[int, float]]:
    """Return at most `_POINTS` points of a curve, counted from its end so that the last one is among them."""
    points = sorted(trial.curve.items())
    stride = -(-len(points) // _POINTS)
    return points[::-1][::stride][::-1]


def _table(title: str, report: StudyReportData, trials: Sequence[Trial]) -> Table:
    """Return a row per trial: first, best and last value of its curve, and why it ended.

    Of many trials, the best ones and some that were stopped.
    """
    metric, upwards = report.objective.metric, report.objective.direction == "maximize"
    listed = trials if len(trials) <= _ROWS else [trial for trial in report.ranked if trial in trials][: _ROWS // 2]
    if len(trials) > _ROWS:
        # The reasons of stopped trials are what the chart cannot show.
        listed = [*listed, *[trial for trial in trials if trial.reason][: _ROWS - len(listed)]]
    rows = []
    for trial in sorted(listed, key=lambda trial: trial.number):
        finite = [value for value in trial.curve.values() if math.isfinite(value)]
        best = (max(finite) if upwards else min(finite)) if finite else math.nan
        epochs = sorted(trial.curve)
        rows.append(
            (
                trial.number,
                trial.state.value,
                f"{epochs[-1]} of {trial.planned}" if trial.planned > epochs[-1] else epochs[-1],
                *(format_metric(metric, value) for value in (trial.curve[epochs[0]], best, trial.curve[epochs[-1]])),
                trial.reason,
            )
        )
    columns = ("trial", "state", "epochs", "first", "best", "last", "reason for its end")
    caption = title if len(listed) == len(trials) else f"{title}: the best trials, and some that were stopped"
    return table(caption, columns, "rlrrrrl", rows)
