"""Section of the history: the value of every trial, and the best value so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.reports.charts.learning import BLUE, GREEN, GREY, PURPLE, VERMILLION, empty_figure
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.metric import format_metric, hover_format, metric_name, metric_title, set_value_axis
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
_MANY = 100  # trials, from which on markers are smaller

Point = tuple[Trial, float]  # a trial and the value at which it is drawn
Group = tuple[str, list[Point], str, str]  # name, points, colour, marker


def history(report: StudyReportData) -> PageSection | None:
    """Return the section; None where no trial reached a value, not even for an epoch."""
    groups = _groups(report)
    if not any(points for _, points, *_ in groups):
        return None
    best, metric = best_so_far(report.scored, report.objective), report.objective.metric
    title = f"{metric_title(metric)} of each trial"
    course = "none is complete"
    if best:
        first, last = (format_metric(metric, value) for _, value in (best[0], best[-1]))
        course = f"the best so far goes from {first} to {last}"
    broken = sum(_is_without_value(trial) for trial in report.own_trials)
    panel = Panel(
        key="study-history",
        title=title,
        description=f"{metric_title(metric)} of {several(len(report.own_trials), 'trial')} in order; {course}.",
        figure=_figure(report, groups, best),
        table=_table(title, report, best),
        note=f"The value of {several(broken, 'complete trial')} is not finite; here such a trial counts as failed."
        if broken
        else "",
        wide=True,
    )
    return panels_section("history", "History", [panel])


def best_so_far(trials: Sequence[Trial], objective: Objective) -> list[Point]:
    """Return (trial, best value until then) of scored trials in order."""
    points: list[Point] = []
    for trial in trials:
        best = points[-1][1] if points else None
        better = best is None or objective.better(trial.values[0], best)
        points.append((trial, trial.values[0] if better or best is None else best))
    return points


def last_value(trial: Trial) -> float | None:
    """Return the last finite value on the curve of a trial."""
    return next((value for value in reversed(list(trial.curve.values())) if math.isfinite(value)), None)


def _groups(report: StudyReportData) -> list[Group]:
    """Return the groups in the order of the legend."""
    reused = [(trial, trial.values[0]) for trial in report.scored if trial.same_as is not None]
    trained = [(trial, trial.values[0]) for trial in report.scored if trial.same_as is None]
    pruned = [trial for trial in report.own_trials if trial.state is TrialState.PRUNED]
    earlier = [trial for trial in report.imported_trials if trial.values and math.isfinite(trial.values[0])]
    # The last value, not the best: the curve was cut there.
    pruned_points = [(trial, value) for trial in pruned if (value := last_value(trial)) is not None]
    return [
        ("complete", trained, BLUE, "circle"),
        ("reused from another trial", reused, BLUE, "circle-open"),
        ("pruned, its last value", pruned_points, VERMILLION, "triangle-down-open"),  # downwards: stopped
        ("from an earlier study", [(trial, trial.values[0]) for trial in earlier], GREY, "square-open"),
    ]


def _figure(report: StudyReportData, groups: Sequence[Group], best: list[Point]) -> go.Figure:
    figure, objective = empty_figure(height=400), report.objective
    hover = hover_format(objective.metric)
    for name, points, colour, symbol in groups:
        if points:
            size = 8 if len(report.own_trials) <= _MANY else 6
            figure.add_scatter(
                x=[trial.number for trial, _ in points],
                y=[rounded(value) for _, value in points],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.85},
                hovertemplate=f"trial %{{x}}: {hover}<extra>{name}</extra>",
            )
    own = report.own_trials
    failed = [trial.number for trial in own if trial.state is TrialState.FAILED or _is_without_value(trial)]
    values = [value for _, points, *_ in groups for _, value in points]
    if failed:
        # A failed trial has no value; it is drawn at the lower edge, so that it is not overlooked.
        figure.add_scatter(
            x=failed,
            y=[rounded(min(values))] * len(failed),
            name="failed, no value",
            mode="markers",
            marker={"color": PURPLE, "symbol": "x", "size": 8},
            hovertemplate="trial %{x}<extra>failed</extra>",
        )
    if best:
        figure.add_scatter(
            x=[trial.number for trial, _ in best],
            y=[rounded(value) for _, value in best],
            name="best so far",
            mode="lines",
            line={"color": GREEN, "width": 2, "shape": "hv"},
            hovertemplate=f"{hover}<extra>best so far</extra>",
        )
    # Of few trials Plotly would label halves.
    ticks = {"dtick": 1} if len(report.trials) <= 12 else {}
    figure.update_xaxes(title_text="trial", tickformat="d", **ticks)
    set_value_axis(figure, objective, values)
    return figure.update_layout(hovermode="closest", showlegend=True)


def _is_without_value(trial: Trial) -> bool:
    """Return True for a complete trial whose value is not finite."""
    return trial.state is TrialState.COMPLETE and not (trial.values and math.isfinite(trial.values[0]))


def _table(title: str, report: StudyReportData, best: Sequence[Point]) -> Table:
    """Return all complete trials where they are few, else those that improved the best value, and the last."""
    metric = report.objective.metric
    improved = [
        point
        for previous, point in zip([None, *best], best, strict=False)
        if previous is None or point[1] != previous[1]
    ]
    listed = list(best) if len(best) <= _ROWS else [*improved[-_ROWS:], *best[-1:]]
    rows = [
        (trial.number, format_metric(metric, trial.values[0]), format_metric(metric, value)) for trial, value in listed
    ]
    return table(title, ("trial", metric_name(metric), "best so far"), "rrr", rows)
