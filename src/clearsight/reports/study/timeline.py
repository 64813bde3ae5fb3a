"""The section of the timeline: what each worker did when, a bar per trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from clearsight.core.trial import Trial, TrialState
from clearsight.reports.charts.learning import BLUE, GREEN, PURPLE, VERMILLION, blank, named_ticks, still
from clearsight.reports.kit.format import duration, percent, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.study.report_data import StudyReportData

_LOOKS = (
    (TrialState.COMPLETE, BLUE, ""),
    (TrialState.PRUNED, VERMILLION, "/"),
    (TrialState.FAILED, PURPLE, "x"),
    (TrialState.RUNNING, GREEN, "."),
)
_PAUSE = 0.1  # of the time of work, but at least a minute: a longer while without any is cut to this
_LANES = 40


class Bar(NamedTuple):
    """A trial on a lane, from `begin` for `seconds`, on a clock that skips the pauses."""

    trial: Trial
    lane: int
    begin: float
    seconds: float


def timeline(facts: StudyReportData) -> PageSection | None:
    """None where no trial has begun."""
    timed = [trial for trial in facts.own if trial.started > 0 and trial.seconds > 0 and trial.same_as is None]
    if not timed:
        return None
    pauses = _pauses(timed)
    bars, names = _laid(timed, pauses)
    title = "What each worker did"
    total = max(bar.begin + bar.seconds for bar in bars)
    workers = {trial.worker for trial in timed}
    note = f"Left out: {duration(sum(cut for _, cut in pauses))} in which nobody worked (dotted)." if pauses else ""
    panel = Panel(
        key="study-timeline",
        title=title,
        says=f"{several(len(timed), 'trial')} on {several(len(workers), 'worker')} over {duration(total)}.",
        figure=_figure(bars, names, total, pauses),
        table=_table(title, timed, total),
        note=note,
        wide=True,
    )
    return PageSection(
        key="timeline", title="Timeline", template="study_panels.html", values={"about": ""}, panels=(panel,)
    )


def _pauses(timed: Sequence[Trial]) -> list[tuple[float, float]]:
    """(end, seconds cut) of whiles in which nobody worked, as between an interruption and the going on."""
    spans = sorted((trial.started, trial.started + trial.seconds) for trial in timed)
    allowed = max(_PAUSE * _covered(timed), 60.0)
    found, until = [], spans[0][1]
    for begin, end in spans[1:]:
        if begin - until > allowed:
            found.append((begin, begin - until - allowed))
        until = max(until, end)
    return found


def _laid(timed: Sequence[Trial], pauses: Sequence[tuple[float, float]]) -> tuple[list[Bar], list[str]]:
    """Bars, and the name of each lane. Trials that a worker had at once, trained together, get lanes of their own."""
    start = min(trial.started for trial in timed)
    bars: list[Bar] = []
    names: list[str] = []
    for worker in sorted({trial.worker for trial in timed}, key=lambda one: -1 if one is None else one):
        ends: list[float] = []
        for trial in sorted((one for one in timed if one.worker == worker), key=lambda one: one.started):
            begin = trial.started - start - sum(cut for when, cut in pauses if when <= trial.started)
            free = next((lane for lane, end in enumerate(ends) if end <= begin + 0.01 * trial.seconds), len(ends))
            ends[free : free + 1] = [begin + trial.seconds]
            bars.append(Bar(trial, len(names) + free, begin, trial.seconds))
        called = "no worker known" if worker is None else f"worker {worker}"
        names += [called, *[""] * (len(ends) - 1)]
    return bars, names


def _figure(
    bars: Sequence[Bar], names: Sequence[str], total: float, pauses: Sequence[tuple[float, float]]
) -> go.Figure:
    lanes = len(names)
    figure = blank(height=100 + max(lanes * (30 if lanes <= 12 else 16 if lanes <= _LANES else 8), 60))
    unit, called = (3600.0, "hours") if total > 10_800 else (60.0, "minutes") if total > 180 else (1.0, "seconds")
    for state, colour, hatch in _LOOKS:
        group = [bar for bar in bars if bar.trial.state is state]
        if group:
            figure.add_bar(
                x=[round(bar.seconds / unit, 4) for bar in group],
                base=[round(bar.begin / unit, 4) for bar in group],
                y=[bar.lane for bar in group],
                name=state.value,
                orientation="h",
                marker={
                    "color": colour,
                    "opacity": 0.8,
                    "pattern": {"shape": hatch, "size": 5, "solidity": 0.35},
                    "line": {"width": 1, "color": "rgba(128,128,128,0.9)"},
                },
                customdata=[[bar.trial.number, duration(bar.seconds)] for bar in group],
                hovertemplate=f"trial %{{customdata[0]}}: %{{customdata[1]}}<extra>{state.value}</extra>",
            )
    begin_of = {bar.trial.started: bar.begin for bar in bars}
    for when, _ in pauses:
        figure.add_vline(x=begin_of[when] / unit, line={"width": 1.5, "dash": "dot", "color": "#808080"})
    figure.update_xaxes(title_text=f"{called} of work", rangemode="tozero")
    downwards = {"range": [lanes - 0.5, -0.5]}
    figure.update_yaxes(showgrid=False, **(named_ticks(names) | downwards))
    return still(figure.update_layout(barmode="overlay", bargap=0.2, hovermode="closest", showlegend=True))


def _table(title: str, timed: Sequence[Trial], total: float) -> Table:
    """A row per worker: trials that are trained together count their time each, so busy is not said over 100 %."""
    rows = []
    for worker in sorted({trial.worker for trial in timed}, key=lambda one: -1 if one is None else one):
        own = [trial for trial in timed if trial.worker == worker]
        busy = min(_covered(own) / total, 1.0) if total else 0.0
        counts = [sum(trial.state is state for trial in own) for state, *_ in _LOOKS[:3]]
        rows.append(("unknown" if worker is None else worker, *counts, duration(_covered(own)), percent(busy)))
    return table(title, ("worker", "complete", "pruned", "failed", "at work", "of the time"), "rrrrrr", rows)


def _covered(trials: Sequence[Trial]) -> float:
    """Seconds in which at least one of them ran."""
    covered, until = 0.0, 0.0
    for begin, end in sorted((one.started, one.started + one.seconds) for one in trials):
        covered += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return covered
