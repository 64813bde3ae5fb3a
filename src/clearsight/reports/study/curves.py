"""The section of curves: the first objective by epoch of every trial, those that were stopped early dashed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from clearsight.core.trial import SCORES, Trial, TrialState
from clearsight.reports.charts.learning import BLUE, VERMILLION, blank
from clearsight.reports.kit.format import several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.study.history import GREY
from clearsight.reports.study.metric import hover, named, short, titled, value_axis, written
from clearsight.reports.study.report_data import StudyReportData

_POINTS = 60  # of a curve
_ROWS = 60
_MANY = 60  # curves, from which on each is drawn fainter

# name in the legend, whose state, colour, dash, marker
_LOOKS = (
    ("complete", TrialState.COMPLETE, BLUE, "solid", "circle"),
    ("pruned", TrialState.PRUNED, VERMILLION, "dash", "triangle-down"),
    ("failed", TrialState.FAILED, GREY, "dot", "x"),
    ("under way", TrialState.RUNNING, GREY, "solid", "circle-open"),
)


def curves(facts: StudyReportData) -> PageSection | None:
    """None before the first epoch of any trial, and for an objective that has no curve."""
    shown = [trial for trial in facts.own if trial.curve and trial.same_as is None]
    if not shown or facts.aim.metric not in SCORES:
        return None
    title = f"Validation {named(facts.aim.metric)} by epoch"
    stopped = sum(trial.state is TrialState.PRUNED for trial in shown)
    panel = Panel(
        key="study-curves",
        title=title,
        says=f"{titled(facts.aim.metric)} by epoch of {several(len(shown), 'trial')}, {stopped} of them pruned.",
        figure=_figure(facts, shown),
        table=_table(title, facts, shown),
        wide=True,
    )
    return PageSection(
        key="curves", title="Curves", template="study_panels.html", values={"about": ""}, panels=(panel,)
    )


def _figure(facts: StudyReportData, shown: Sequence[Trial]) -> go.Figure:
    figure, best = blank(height=400), facts.best_trial
    faint = 0.55 if len(shown) <= _MANY else 0.25
    for name, state, colour, dash, symbol in _LOOKS:
        group = [trial for trial in shown if trial.state is state and trial is not best]
        if group:
            figure.add_scatter(
                **_joined(group, facts),
                name=name,
                opacity=faint,
                line={"color": colour, "width": 1.5, "dash": dash},
                marker={"symbol": symbol, "size": _sizes(group, many=len(shown) > _MANY), "color": colour},
            )
    if best is not None and best in shown:
        figure.add_scatter(
            **_joined([best], facts),
            name=f"best (trial {best.number})",
            line={"color": BLUE, "width": 3.5},
            marker={"symbol": "circle", "size": 6, "color": BLUE},
        )
    longest = max(max(trial.curve) for trial in shown)
    figure.update_xaxes(title_text="epoch", tickformat="d", dtick=1 if longest <= 12 else None)
    figure.update_yaxes(**value_axis(facts.aim, [value for one in shown for value in one.curve.values()]))
    return figure.update_layout(hovermode="closest", showlegend=True)


def _joined(group: Sequence[Trial], facts: StudyReportData) -> dict[str, Any]:
    """The curves of some trials as one trace, a gap behind each."""
    corners: list[tuple[int, float | None, int]] = []
    for trial in group:
        points = _thinned(trial)
        corners += [(epoch, short(value), trial.number) for epoch, value in points]
        corners.append((points[-1][0], None, trial.number))
    return {
        "x": [epoch for epoch, _, _ in corners],
        "y": [value for _, value, _ in corners],
        "customdata": [number for *_, number in corners],
        "mode": "lines+markers",
        "hovertemplate": f"trial %{{customdata}}, epoch %{{x}}: {hover(facts.aim.metric)}<extra></extra>",
    }


def _sizes(group: Sequence[Trial], *, many: bool) -> list[int]:
    """A mark at the end of each curve and none before; of many only where one was cut short."""
    end = 0 if many and group[0].state is TrialState.COMPLETE else 5 if many else 8
    return [size for trial in group for size in [*[0] * (len(_thinned(trial)) - 1), end, 0]]


def _thinned(trial: Trial) -> list[tuple[int, float]]:
    """At most so many points of a curve, the last among them."""
    points = sorted(trial.curve.items())
    every = -(-len(points) // _POINTS)
    return points[::-1][::every][::-1]


def _table(title: str, facts: StudyReportData, shown: Sequence[Trial]) -> Table:
    """A row per trial: where its curve began, was best and ended, and why."""
    metric, upwards = facts.aim.metric, facts.aim.direction == "maximize"
    first = shown if len(shown) <= _ROWS else [trial for trial in facts.ranked if trial in shown][: _ROWS // 2]
    if len(shown) > _ROWS:
        first = [*first, *[trial for trial in shown if trial.reason][: _ROWS - len(first)]]
    rows = []
    for trial in sorted(first, key=lambda one: one.number):
        finite = [value for value in trial.curve.values() if math.isfinite(value)]
        best = (max(finite) if upwards else min(finite)) if finite else math.nan
        epochs = sorted(trial.curve)
        rows.append(
            (
                trial.number,
                trial.state.value,
                f"{epochs[-1]} of {trial.planned}" if trial.planned > epochs[-1] else epochs[-1],
                *(written(metric, value) for value in (trial.curve[epochs[0]], best, trial.curve[epochs[-1]])),
                trial.reason,
            )
        )
    columns = ("trial", "state", "epochs", "first", "best", "last", "why it ended")
    caption = title if len(first) == len(shown) else f"{title}: the best trials, and those that were stopped"
    return table(caption, columns, "rlrrrrl", rows)
