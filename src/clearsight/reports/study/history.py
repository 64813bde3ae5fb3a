"""The section of the optimisation's history: what every trial reached, and the best so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.reports.charts.learning import BLUE, GREEN, PURPLE, VERMILLION, blank
from clearsight.reports.kit.format import several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.study.metric import hover, named, short, titled, value_axis, written
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
GREY = "#808080"

Point = tuple[Trial, float]  # a trial and the value that it is drawn at


def history(facts: StudyReportData) -> PageSection | None:
    """None where no trial reached a value, not even for an epoch."""
    groups = _groups(facts)
    if not any(points for _, points, *_ in groups):
        return None
    aim, steps = facts.aim, best_so_far(facts.scored, facts.aim)
    title = f"{titled(aim.metric)} of each trial"
    panel = Panel(
        key="study-history",
        title=title,
        says=_says(facts, steps),
        figure=_figure(facts, groups, steps),
        table=_table(title, facts, steps),
        note=_note(facts),
        wide=True,
    )
    return PageSection(
        key="history", title="History", template="study_panels.html", values={"about": ""}, panels=(panel,)
    )


def best_so_far(trials: Sequence[Trial], aim: Objective) -> list[Point]:
    """(trial, best value until then) of scored trials in order."""
    told: list[Point] = []
    for trial in trials:
        before = told[-1][1] if told else None
        better = before is None or aim.better(trial.values[0], before)
        told.append((trial, trial.values[0] if better or before is None else before))
    return told


def _groups(facts: StudyReportData) -> list[tuple[str, list[Point], str, str]]:
    """(name, points, colour, marker), in the order of the legend."""
    answered = [(one, one.values[0]) for one in facts.scored if one.same_as is not None]
    trained = [(one, one.values[0]) for one in facts.scored if one.same_as is None]
    stopped = [one for one in facts.own if one.state is TrialState.PRUNED]
    brought = [one for one in facts.brought if one.values and math.isfinite(one.values[0])]
    return [
        ("complete", trained, BLUE, "circle"),
        ("answered from another", answered, BLUE, "circle-open"),
        ("pruned, its last value", [(one, last) for one in stopped if (last := last_value(one)) is not None], *PRUNED),
        ("from an earlier study", [(one, one.values[0]) for one in brought], GREY, "square-open"),
    ]


PRUNED = (VERMILLION, "triangle-down-open")


def last_value(trial: Trial) -> float | None:
    """The last number on its curve."""
    return next((value for value in reversed(list(trial.curve.values())) if math.isfinite(value)), None)


def _figure(
    facts: StudyReportData, groups: Sequence[tuple[str, list[Point], str, str]], steps: list[Point]
) -> go.Figure:
    figure, aim = blank(height=400), facts.aim
    for name, points, colour, symbol in groups:
        if points:
            figure.add_scatter(
                x=[one.number for one, _ in points],
                y=[short(value) for _, value in points],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8 if len(facts.own) <= 100 else 6, "opacity": 0.85},
                hovertemplate=f"trial %{{x}}: {hover(aim.metric)}<extra>{name}</extra>",
            )
    lost = [one.number for one in facts.own if one.state is TrialState.FAILED or _lost(one)]
    drawn = [value for _, points, *_ in groups for _, value in points]
    if lost:
        floor = min(drawn)
        figure.add_scatter(
            x=lost,
            y=[short(floor)] * len(lost),
            name="failed, no value",
            mode="markers",
            marker={"color": PURPLE, "symbol": "x", "size": 8},
            hovertemplate="trial %{x}<extra>failed</extra>",
        )
    if steps:
        figure.add_scatter(
            x=[one.number for one, _ in steps],
            y=[short(value) for _, value in steps],
            name="best so far",
            mode="lines",
            line={"color": GREEN, "width": 2, "shape": "hv"},
            hovertemplate=f"{hover(aim.metric)}<extra>best so far</extra>",
        )
    ticks = {"dtick": 1} if len(facts.trials) <= 12 else {}
    figure.update_xaxes(title_text="trial", tickformat="d", **ticks)
    figure.update_yaxes(**value_axis(aim, drawn))
    return figure.update_layout(hovermode="closest", showlegend=True)


def _lost(trial: Trial) -> bool:
    """Whether it is complete but its value is no number."""
    return trial.state is TrialState.COMPLETE and not (trial.values and math.isfinite(trial.values[0]))


def _says(facts: StudyReportData, steps: Sequence[Point]) -> str:
    metric = facts.aim.metric
    told = f"{titled(metric)} of {several(len(facts.own), 'trial')} in order"
    if not steps:
        return f"{told}; none is complete."
    (_, first), (_, last) = steps[0], steps[-1]
    return f"{told}; the best so far goes from {written(metric, first)} to {written(metric, last)}."


def _note(facts: StudyReportData) -> str:
    broken = [one for one in facts.own if _lost(one)]
    return f"{several(len(broken), 'complete trial')} had no finite value and counts as failed here." if broken else ""


def _table(title: str, facts: StudyReportData, steps: Sequence[Point]) -> Table:
    """All complete trials where they are few, else those that brought something better and the last."""
    metric = facts.aim.metric
    better = [
        here for before, here in zip([None, *steps], steps, strict=False) if before is None or here[1] != before[1]
    ]
    shown = list(steps) if len(steps) <= _ROWS else [*better[-_ROWS:], *steps[-1:]]
    rows = [(one.number, written(metric, one.values[0]), written(metric, best)) for one, best in shown]
    return table(title, ("trial", named(metric), "best so far"), "rrr", rows)
