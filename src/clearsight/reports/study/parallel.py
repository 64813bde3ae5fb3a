"""Section of parallel coordinates: every complete trial as one line across all settings that vary.

The axes are horizontal, one below the other, so that names and values have room on a narrow screen. The lines are plain
ones, because Plotly's own chart of this kind has no logarithms, no gaps and no escaping of names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.core.trial import Trial
from clearsight.reports.charts.axes import score_axis
from clearsight.reports.charts.learning import VERMILLION, empty_figure, escape_name, named_ticks, without_zoom
from clearsight.reports.kit.format import UNKNOWN, clipped
from clearsight.reports.kit.section import PageSection, Panel, Table, panels_section, table
from clearsight.reports.study.field_axis import FieldAxis, value_text
from clearsight.reports.study.metric import format_metric, metric_name, metric_title
from clearsight.reports.study.report_data import StudyReportData

_AXES = 12
_ROW = 58  # pixels between the axes
_BANDS = 5  # groups of trials by rank, each in a fuller colour
_LETTERS = 26  # along an axis on a narrow screen
_LABEL = 12  # letters of one label
_LINES = 150  # of more trials the best and some of the others are drawn
_ROWS = 40
_ABOUT = (
    "Each line is a trial: the fuller the colour, the better; the best is dashed. Where full lines meet, good trials "
    "agree. A line has a gap where a setting does not apply."
)

Corner = tuple[float | None, int, int]  # position on the axis or None for a gap, row of the axis, trial


def parallel(report: StudyReportData) -> PageSection | None:
    """Return the section; None with fewer than two complete trials or two settings: nothing can be compared."""
    axes = [FieldAxis.of(name, report.plan.space, report.scored) for name in report.settings_by_importance]
    axes = [axis for axis in axes if any(axis.holds(trial.params) for trial in report.scored)]
    if len(report.scored) < 2 or len(axes) < 2:
        return None
    drawn_axes, drawn_trials = axes[:_AXES], _drawn_trials(report)
    title = f"Settings and {metric_name(report.objective.metric)} of each complete trial"
    left, notes = len(axes) - len(drawn_axes), []
    if left:
        notes.append(f"The {several(left, 'setting')} of the least importance {'are' if left > 1 else 'is'} left out.")
    if len(drawn_trials) < len(report.scored):
        best, total = _LINES // _BANDS, len(report.scored)
        notes.append(f"Shown are {len(drawn_trials)} of {total} trials: the best {best}, and some of the others.")
    trials, settings = several(len(report.scored), "trial"), several(len(drawn_axes), "setting")
    panel = Panel(
        key="study-parallel",
        title=title,
        description=f"{trials} as lines across {settings} and the result.",
        figure=_figure(report, drawn_axes, drawn_trials),
        table=_table(title, report, drawn_axes),
        note=" ".join(notes),
        wide=True,
    )
    return panels_section("parallel", "Parallel coordinates", [panel], _ABOUT)


def _drawn_trials(report: StudyReportData) -> list[Trial]:
    """Return the trials that are drawn, the worst first, so that the best lie on top."""
    ranked = report.ranked
    if len(ranked) <= _LINES:
        return ranked[::-1]
    best, others = ranked[: _LINES // _BANDS], ranked[_LINES // _BANDS :]
    indices = np.linspace(0, len(others) - 1, _LINES - len(best)).round().astype(int)
    return [*best, *(others[index] for index in indices)][::-1]


def _figure(report: StudyReportData, axes: Sequence[FieldAxis], trials: Sequence[Trial]) -> go.Figure:
    figure = empty_figure(height=70 + _ROW * (len(axes) + 1)).update_layout(margin_t=8)
    values = [trial.values[0] for trial in report.scored]
    metric = report.objective.metric
    is_log = score_axis(metric, values).get("type") == "log"
    scale = FieldAxis(metric, min(values), max(values), log=is_log)
    for band, group in enumerate(np.array_split(np.arange(len(trials)), min(_BANDS, len(trials)))):
        # One trace per band: 150 traces would make the page slow.
        lines = [_line(trials[index], axes, scale) for index in group]
        # Many lines cover each other; each of them is fainter.
        opacity = 0.12 + 0.16 * band if len(trials) <= 50 else 0.08 + 0.1 * band
        figure.add_scatter(**_trace(lines), line={"color": f"rgba(0,114,178,{opacity:.2f})", "width": 1.5})
    if (best := report.best_trial) is not None:
        dashed = {"color": VERMILLION, "width": 2.5, "dash": "dash"}
        figure.add_scatter(**_trace([_line(best, axes, scale)]), line=dashed)
    for row, marks in enumerate([*(axis.marks() for axis in axes), _value_marks(scale)]):
        figure.add_shape(
            type="line", x0=0, x1=1, y0=row, y1=row, layer="below", line={"width": 1, "color": "rgba(128,128,128,0.7)"}
        )
        _label(figure, row, marks)
    names = [*(axis.name for axis in axes), metric_name(report.objective.metric)]
    figure.update_xaxes(range=[-0.04, 1.04], visible=False)
    figure.update_yaxes(showgrid=False, **(named_ticks(names) | {"range": [len(names) - 0.5, -0.35]}))
    return without_zoom(figure.update_layout(hovermode="closest", showlegend=False))


def _line(trial: Trial, axes: Sequence[FieldAxis], scale: FieldAxis) -> list[Corner]:
    """Return the corners of the line of a trial, the last one for its result."""
    positions = [axis.share(trial.params) if axis.holds(trial.params) else None for axis in axes]
    result = scale.share({scale.name: trial.values[0]})
    corners: list[float | None] = [*positions, result]
    return [(None if x is None else round(x, 4), row, trial.number) for row, x in enumerate(corners)]


def _trace(lines: Sequence[list[Corner]]) -> dict[str, Any]:
    """Return lines as one trace with a gap after each."""
    corners = [corner for line in lines for corner in [*line, (None, line[-1][1], line[-1][2])]]
    return {
        "x": [x for x, _, _ in corners],
        "y": [row for _, row, _ in corners],
        "customdata": [number for *_, number in corners],
        "mode": "lines",
        "hovertemplate": "trial %{customdata}<extra></extra>",
    }


def _label(figure: go.Figure, row: int, marks: Sequence[tuple[float, str]]) -> None:
    """Write values below an axis, ends first; only as many as have room."""
    letters = max(len(clipped(label, _LABEL)) for _, label in marks)
    number = min(len(marks), max(2, _LETTERS // letters))
    indices = np.linspace(0, len(marks) - 1, number).round().astype(int)
    for share, label in (marks[index] for index in indices):
        figure.add_annotation(
            x=share,
            y=row,
            text=escape_name(clipped(label, _LABEL)),
            name="tick",  # the page gives it a background, so that lines do not cross the text
            showarrow=False,
            yanchor="top",
            yshift=-3,
            xanchor="left" if share == 0 else "right" if share == 1 else "center",
            font={"size": 11},
        )


def _value_marks(scale: FieldAxis) -> list[tuple[float, str]]:
    shares = (0.0, 0.5, 1.0) if scale.high > scale.low else (0.5,)
    return [(share, format_metric(scale.name, scale.value(share))) for share in shares]


def _table(title: str, report: StudyReportData, axes: Sequence[FieldAxis]) -> Table:
    listed, metric = report.ranked[:_ROWS], report.objective.metric
    rows = [
        (
            trial.number,
            *(value_text(trial.params[axis.name]) if axis.name in trial.params else UNKNOWN for axis in axes),
            format_metric(metric, trial.values[0]),
        )
        for trial in listed
    ]
    all_listed = len(listed) == len(report.scored)
    caption = title if all_listed else f"{metric_title(metric)} and settings of the best {_ROWS} trials"
    return table(caption, ("trial", *(axis.name for axis in axes), metric_name(metric)), "r" * (len(axes) + 2), rows)
