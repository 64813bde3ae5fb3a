"""Section of several objectives: the Pareto front and its growth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import plotly.graph_objects as go

from clearsight.core.finding import flags
from clearsight.core.format import several
from clearsight.core.trial import Trial, pareto_front
from clearsight.reports.charts.axes import set_score_axis
from clearsight.reports.charts.learning import BLUE, GREEN, VERMILLION, empty_figure, line_mode, without_zoom
from clearsight.reports.charts.series import rounded
from clearsight.reports.kit.format import percent
from clearsight.reports.kit.section import PageSection, Panel, panels_section, table
from clearsight.reports.study.metric import (
    format_metric,
    hover_format,
    metric_name,
    metric_title,
    ranked,
    set_value_axis,
)
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
_PAIRS = 3  # of objectives that are drawn: all pairs of three objectives


def front(report: StudyReportData) -> PageSection | None:
    """Return the section; None for a single objective and before the first complete trial."""
    objectives, trials = report.plan.objectives, report.fully_scored
    if len(objectives) < 2 or not trials:
        return None
    best = ranked(pareto_front(trials, objectives), objectives[0])
    pairs = list(combinations(range(len(objectives)), 2))[:_PAIRS]
    wide = len(pairs) == 1 and not report.hypervolume
    panels = [_pair(report, pair, best, wide=wide) for pair in pairs]
    if report.hypervolume:
        panels.append(_hypervolume(report))
    about = (
        f"On the front: {several(len(best), 'trial')} of {len(trials)}. No other trial is better in one objective "
        "without being worse in another."
    )
    return panels_section("front", "Pareto front", panels, about)


def _pair(report: StudyReportData, pair: tuple[int, int], best: Sequence[Trial], *, wide: bool) -> Panel:
    objectives, trials = report.plan.objectives, report.fully_scored
    first, second = (objectives[index] for index in pair)
    title = f"{metric_title(first.metric)} and {metric_name(second.metric)}"
    metrics = [objective.metric for objective in objectives]
    columns = ("trial", *map(metric_name, metrics), "settings")
    rows = [
        (
            trial.number,
            *(format_metric(metric, value) for metric, value in zip(metrics, trial.values, strict=True)),
            flags(trial.params),
        )
        for trial in best[:_ROWS]
    ]
    return Panel(
        key=f"study-front-{first.metric}-{second.metric}",
        title=title,
        description=f"{title} of {several(len(trials), 'trial')}, of which {len(best)} are on the Pareto front.",
        figure=_scatter(report, pair, best),
        table=table(f"The front: {title}", columns, "r" * (len(objectives) + 1) + "l", rows),
        wide=wide,
    )


def _scatter(report: StudyReportData, pair: tuple[int, int], best: Sequence[Trial]) -> go.Figure:
    objectives, trials, (row, column) = report.plan.objectives, report.fully_scored, pair
    figure, up, across = empty_figure(height=360), objectives[row], objectives[column]
    on_front = {trial.number for trial in best}
    along = sorted(best, key=lambda trial: trial.values[column])
    groups = (
        ("dominated", [trial for trial in trials if trial.number not in on_front], "markers", BLUE, "circle-open"),
        # A front of more objectives is a surface; a line through it would show nothing.
        ("on the front", along, "lines+markers" if len(objectives) == 2 else "markers", VERMILLION, "diamond"),
    )
    # As steps: between two trials of the front nothing better than the lesser of them was measured.
    step = {"width": 1.5, "dash": "dot", "shape": "hv" if across.direction == "minimize" else "vh"}
    hover = f"trial %{{customdata}}: {hover_format(up.metric)}, {hover_format(across.metric, 'x')}<extra></extra>"
    for name, group, mode, colour, symbol in groups:
        if group:
            figure.add_scatter(
                x=[rounded(trial.values[column]) for trial in group],
                y=[rounded(trial.values[row]) for trial in group],
                name=name,
                mode=mode,
                line={"color": colour, **step},
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=[trial.number for trial in group],
                hovertemplate=hover,
            )
    set_value_axis(figure, across, [trial.values[column] for trial in trials], axis="x")
    set_value_axis(figure, up, [trial.values[row] for trial in trials])
    return figure.update_layout(hovermode="closest", showlegend=True)


def _hypervolume(report: StudyReportData) -> Panel:
    history = report.hypervolume
    figure = empty_figure(height=360)
    figure.add_scatter(
        x=[number for number, _ in history],
        y=[rounded(share) for _, share in history],
        mode=line_mode(len(history)),
        line={"color": GREEN, "width": 2, "shape": "hv"},
        hovertemplate="trial %{x}: %{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(title_text="trial", tickformat="d")
    shares = [share for _, share in history]
    set_score_axis(figure, "hypervolume", shares, title_text="share of the box that is dominated", rangemode="tozero")
    # Only trials at which the volume grew: the table would repeat one value for most.
    grown = [
        point
        for previous, point in zip([None, *history], history, strict=False)
        if previous is None or point[1] > previous[1]
    ]
    title, end = "Hypervolume", percent(history[-1][1])
    return Panel(
        key="study-hypervolume",
        title=title,
        description=f"Share of the box between best and worst that the front dominates, {end} at the end.",
        figure=without_zoom(figure),
        table=table(title, ("trial", "share"), "rr", [(number, percent(share)) for number, share in grown[-_ROWS:]]),
        note="The box reaches from the best value of each objective to a tenth beyond the worst.",
    )
