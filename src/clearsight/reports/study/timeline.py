"""Section of the timeline: what each worker did when, a bar per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from clearsight.core.format import duration, several
from clearsight.core.trial import Trial, TrialState
from clearsight.reports.charts.learning import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    empty_figure,
    hatched,
    named_ticks,
    without_zoom,
)
from clearsight.reports.kit.format import percent
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.report_data import StudyReportData

_STYLES = (
    (TrialState.COMPLETE, BLUE, ""),
    (TrialState.PRUNED, VERMILLION, "/"),
    (TrialState.FAILED, PURPLE, "x"),
    (TrialState.RUNNING, GREEN, "."),
)
_PAUSE_SHARE, _PAUSE_SECONDS = 0.1, 60.0  # of the time of work; a longer pause than both is cut to this length
_LANES = 40


class Bar(NamedTuple):
    """Trial on a lane, from `start` on, in seconds on a clock that skips the pauses."""

    trial: Trial
    lane: int
    start: float

    @property
    def end(self) -> float:
        """Seconds on the same clock."""
        return self.start + self.trial.seconds


def timeline(report: StudyReportData) -> PageSection | None:
    """Return the section; None where no trial has started."""
    trials = [trial for trial in report.own_trials if trial.started > 0 and trial.seconds > 0 and trial.same_as is None]
    if not trials:
        return None
    pauses = _pauses(trials)
    bars, lanes = _bars(trials, pauses)
    title = "What each worker did"
    total = max(bar.end for bar in bars)
    workers, cut = {trial.worker for trial in trials}, duration(sum(pauses.values()))
    panel = Panel(
        key="study-timeline",
        title=title,
        description=f"{several(len(trials), 'trial')} on {several(len(workers), 'worker')} over {duration(total)}.",
        figure=_figure(bars, lanes, total, pauses),
        table=_table(title, trials, total),
        note=f"Left out: {cut} in which no worker ran (dotted lines)." if pauses else "",
        wide=True,
    )
    return panels_section("timeline", "Timeline", [panel])


def _pauses(trials: Sequence[Trial]) -> dict[float, float]:
    """Return the end of each long time without work (UNIX seconds) -> seconds by which the chart shortens it.

    Such as the night between an interruption and the resumption.
    """
    spans = sorted((trial.started, trial.started + trial.seconds) for trial in trials)
    longest = max(_PAUSE_SHARE * _busy_seconds(trials), _PAUSE_SECONDS)
    pauses, until = {}, spans[0][1]
    for start, end in spans[1:]:
        if start - until > longest:
            pauses[start] = start - until - longest
        until = max(until, end)
    return pauses


def _bars(trials: Sequence[Trial], pauses: Mapping[float, float]) -> tuple[list[Bar], list[str]]:
    """Return bars, and the name of each lane. Trials that a worker trained together get lanes of their own."""
    first = min(trial.started for trial in trials)
    bars: list[Bar] = []
    names: list[str] = []
    for worker in _workers(trials):
        ends: list[float] = []
        for trial in sorted((trial for trial in trials if trial.worker == worker), key=lambda trial: trial.started):
            start = trial.started - first - sum(cut for end, cut in pauses.items() if end <= trial.started)
            # One per cent of tolerance: start and duration are measured at slightly different moments.
            free = next((lane for lane, end in enumerate(ends) if end <= start + 0.01 * trial.seconds), len(ends))
            ends[free : free + 1] = [start + trial.seconds]
            bars.append(Bar(trial, len(names) + free, start))
        name = "unknown worker" if worker is None else f"worker {worker}"
        names += [name, *[""] * (len(ends) - 1)]
    return bars, names


def _figure(bars: Sequence[Bar], lanes: Sequence[str], total: float, pauses: Mapping[float, float]) -> go.Figure:
    number = len(lanes)
    lane_height = 30 if number <= 12 else 16 if number <= _LANES else 8
    figure = empty_figure(height=100 + max(number * lane_height, 60))
    unit, name = (3600.0, "hours") if total > 10_800 else (60.0, "minutes") if total > 180 else (1.0, "seconds")
    for state, colour, hatch in _STYLES:
        group = [bar for bar in bars if bar.trial.state is state]
        if group:
            figure.add_bar(
                x=[round(bar.trial.seconds / unit, 4) for bar in group],
                base=[round(bar.start / unit, 4) for bar in group],
                y=[bar.lane for bar in group],
                name=state.value,
                orientation="h",
                marker={**hatched(colour, hatch), "line": {"width": 1, "color": "rgba(128,128,128,0.9)"}},
                customdata=[[bar.trial.number, duration(bar.trial.seconds)] for bar in group],
                hovertemplate=f"trial %{{customdata[0]}}: %{{customdata[1]}}<extra>{state.value}</extra>",
            )
    # The end of a pause is the start of a trial: its bar tells where that is on the shortened clock.
    starts = {bar.trial.started: bar.start for bar in bars}
    for end in pauses:
        figure.add_vline(x=starts[end] / unit, line={"width": 1.5, "dash": "dot", "color": GREY})
    figure.update_xaxes(title_text=f"{name} of work", rangemode="tozero")
    figure.update_yaxes(showgrid=False, **named_ticks(lanes, downwards=True))
    return without_zoom(figure.update_layout(barmode="overlay", bargap=0.2, hovermode="closest", showlegend=True))


def _table(title: str, trials: Sequence[Trial], total: float) -> Table:
    rows = []
    for worker in _workers(trials):
        group = [trial for trial in trials if trial.worker == worker]
        # Trials that are trained together overlap: their sum could be more than the time of the worker.
        busy = _busy_seconds(group)
        share = min(busy / total, 1.0) if total else 0.0
        counts = [sum(trial.state is state for trial in group) for state, *_ in _STYLES[:3]]
        rows.append(("unknown" if worker is None else worker, *counts, duration(busy), percent(share)))
    return table(title, ("worker", "complete", "pruned", "failed", "busy", "share of the time"), "rrrrrr", rows)


def _workers(trials: Sequence[Trial]) -> list[int | None]:
    """Return the workers in order, an unknown one first."""
    return sorted({trial.worker for trial in trials}, key=lambda worker: -1 if worker is None else worker)


def _busy_seconds(trials: Sequence[Trial]) -> float:
    """Return the seconds in which at least one of the trials ran."""
    seconds, until = 0.0, 0.0
    for start, end in sorted((trial.started, trial.started + trial.seconds) for trial in trials):
        seconds += max(end - max(start, until), 0.0)
        until = max(until, end)
    return seconds
