"""The section of parallel coordinates: every complete trial as one line across all varied fields.

The axes lie, one below the other, so that names and values have room on a narrow screen as well; and the lines are
plain ones, since Plotly's own chart of this kind knows no logarithms, no gaps and no escaping of names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from clearsight.core.trial import Trial
from clearsight.reports.charts.learning import VERMILLION, blank, escaped, named_ticks, still
from clearsight.reports.kit.format import UNKNOWN, clipped, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.study.field_axis import FieldAxis, said
from clearsight.reports.study.metric import named, titled, written
from clearsight.reports.study.report_data import StudyReportData

_MOST = 12  # axes
_ROW = 58  # pixels between them
_BANDS = 5  # groups of trials by how good they are
_ROOM = 26  # letters along an axis on a narrow screen
_LINES = 150  # of more trials the best and some of the others are drawn
_ROWS = 40


def parallel(facts: StudyReportData) -> PageSection | None:
    """None with fewer than two complete trials or two fields: there is nothing to compare."""
    axes = [FieldAxis.of(name, facts.plan.space, facts.scored) for name in facts.weighty]
    axes = [axis for axis in axes if any(axis.holds(trial.params) for trial in facts.scored)]
    if len(facts.scored) < 2 or len(axes) < 2:
        return None
    shown = axes[:_MOST]
    title = f"Settings and {named(facts.aim.metric)} of each complete trial"
    left, drawn = len(axes) - len(shown), _drawn(facts)
    notes = [f"{several(left, 'setting')} that {'matter' if left > 1 else 'matters'} least left out."] if left else []
    if len(drawn) < len(facts.scored):
        best = _LINES // _BANDS
        notes.append(f"Drawn are {len(drawn)} of {len(facts.scored)} trials: the best {best}, and some of the others.")
    panel = Panel(
        key="study-parallel",
        title=title,
        says=f"{several(len(facts.scored), 'trial')} as lines across {several(len(shown), 'setting')} and the result.",
        figure=_figure(facts, shown, drawn),
        table=_table(title, facts, shown),
        note=" ".join(notes),
        wide=True,
    )
    about = (
        "Each line is a trial: the fuller the colour, the better; the best is dashed. Where full lines meet, good "
        "trials agree. A line has a gap where a setting does not apply."
    )
    return PageSection(
        key="parallel",
        title="Parallel coordinates",
        template="study_panels.html",
        values={"about": about},
        panels=(panel,),
    )


def _drawn(facts: StudyReportData) -> list[Trial]:
    """The trials that are drawn, the worst first, so that the best lie on top."""
    ranked = facts.ranked
    if len(ranked) <= _LINES:
        return ranked[::-1]
    best, others = ranked[: _LINES // _BANDS], ranked[_LINES // _BANDS :]
    every = np.linspace(0, len(others) - 1, _LINES - len(best)).round().astype(int)
    return [*best, *(others[place] for place in every)][::-1]


def _figure(facts: StudyReportData, axes: Sequence[FieldAxis], drawn: Sequence[Trial]) -> go.Figure:
    figure = blank(height=70 + _ROW * (len(axes) + 1))
    figure.update_layout(margin_t=8)
    values = [trial.values[0] for trial in facts.scored]
    low, high = min(values), max(values)
    for band, group in enumerate(np.array_split(np.arange(len(drawn)), min(_BANDS, len(drawn)))):
        lines = [_line(drawn[place], axes, low, high) for place in group]
        opacity = 0.12 + 0.16 * band if len(drawn) <= 50 else 0.08 + 0.1 * band
        figure.add_scatter(**_joined(lines), line={"color": f"rgba(0,114,178,{opacity:.2f})", "width": 1.5})
    best = facts.best_trial
    if best is not None:
        dashed = {"color": VERMILLION, "width": 2.5, "dash": "dash"}
        figure.add_scatter(**_joined([_line(best, axes, low, high)]), line=dashed)
    for row, marks in enumerate([*(axis.marks() for axis in axes), _value_marks(facts, low, high)]):
        figure.add_shape(
            type="line", x0=0, x1=1, y0=row, y1=row, layer="below", line={"width": 1, "color": "rgba(128,128,128,0.7)"}
        )
        _label(figure, row, marks)
    names = [*(axis.name for axis in axes), named(facts.aim.metric)]
    figure.update_xaxes(range=[-0.04, 1.04], visible=False)
    figure.update_yaxes(showgrid=False, **(named_ticks(names) | {"range": [len(names) - 0.5, -0.35]}))
    return still(figure.update_layout(hovermode="closest", showlegend=False))


def _line(trial: Trial, axes: Sequence[FieldAxis], low: float, high: float) -> list[tuple[float | None, int, int]]:
    """(place, row, trial) of each corner; no place where a field does not apply."""
    places = [axis.share(trial.params) if axis.holds(trial.params) else None for axis in axes]
    result = (trial.values[0] - low) / (high - low) if high > low else 0.5
    corners: list[float | None] = [*places, result]
    return [(None if x is None else round(x, 4), row, trial.number) for row, x in enumerate(corners)]


def _joined(lines: Sequence[list[tuple[float | None, int, int]]]) -> dict[str, Any]:
    """Lines as one trace, a gap behind each."""
    corners = [corner for line in lines for corner in [*line, (None, line[-1][1], line[-1][2])]]
    return {
        "x": [x for x, _, _ in corners],
        "y": [row for _, row, _ in corners],
        "customdata": [number for *_, number in corners],
        "mode": "lines",
        "hovertemplate": "trial %{customdata}<extra></extra>",
    }


def _label(figure: go.Figure, row: int, marks: Sequence[tuple[float, str]]) -> None:
    """Values along an axis, below it; of many or long ones only as many as have room, at the ends first."""
    letters = max(len(clipped(label, 12)) for _, label in marks)
    kept = np.linspace(0, len(marks) - 1, min(len(marks), max(2, _ROOM // letters))).round().astype(int)
    for share, label in (marks[place] for place in kept):
        figure.add_annotation(
            x=share,
            y=row,
            text=escaped(clipped(label, 12)),
            name="tick",
            showarrow=False,
            yanchor="top",
            yshift=-3,
            xanchor="left" if share == 0 else "right" if share == 1 else "center",
            font={"size": 11},
        )


def _value_marks(facts: StudyReportData, low: float, high: float) -> list[tuple[float, str]]:
    metric = facts.aim.metric
    if high == low:
        return [(0.5, written(metric, low))]
    return [(share, written(metric, low + share * (high - low))) for share in (0.0, 0.5, 1.0)]


def _table(title: str, facts: StudyReportData, axes: Sequence[FieldAxis]) -> Table:
    shown = facts.ranked[:_ROWS]
    metric = facts.aim.metric
    rows = [
        (
            one.number,
            *(said(one.params[axis.name]) if axis.name in one.params else UNKNOWN for axis in axes),
            written(metric, one.values[0]),
        )
        for one in shown
    ]
    caption = title if len(shown) == len(facts.scored) else f"{titled(metric)} and settings of the best {_ROWS} trials"
    return table(caption, ("trial", *(axis.name for axis in axes), named(metric)), "r" * (len(axes) + 2), rows)
