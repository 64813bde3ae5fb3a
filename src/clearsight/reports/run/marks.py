"""Marks on the curves of a run: numbered steps at which a rule found something or an action was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clearsight.core.finding import flags
from clearsight.reports.kit.format import sentence
from clearsight.reports.run.report_data import RunReportData

_MARKS = 20  # more labels than these cover the curve
_CLOSE = 0.035  # share of the axis; labels of marks nearer than this would lie on each other
_LEVELS = 4  # heights at which labels stand


@dataclass(frozen=True)
class CurveMark:
    """Mark at a step. label: a number, behind a triangle for an action.  text: what happened, for the list below."""

    label: str
    step: int
    text: str
    is_action: bool = False


def marks(report: RunReportData) -> tuple[CurveMark, ...]:
    """Return the first finding of each rule about learning, and every action, numbered by step.

    Findings about speed concern the run as a whole; on a curve of the loss they would mark nothing.
    """
    first: dict[str, tuple[int, str]] = {}
    for finding in report.findings:
        if finding.found and finding.steps is not None and finding.rule not in report.speed_rules | set(first):
            first[finding.rule] = (finding.steps[0], f"{finding.rule}: {sentence(finding.cause)}")
    events = [(step, text, False) for step, text in first.values()]
    for action in report.actions:
        changed = flags(action.get("changed") or {})
        result = ", ".join(text for text in (changed, str(action.get("outcome") or "")) if text)
        text = f"{action['action']}, because of {action['rule']}: {result or 'without effect'}."
        events.append((int(action["step"]), text, True))
    # Findings before actions at the same step: the finding is the reason for the action.
    ordered = sorted(events, key=lambda event: (event[0], event[2]))[:_MARKS]
    return tuple(
        CurveMark(f"▲{i}" if is_action else str(i), step, text, is_action)
        for i, (step, text, is_action) in enumerate(ordered, start=1)
    )


def draw_marks(figure: go.Figure, marks: Sequence[CurveMark]) -> go.Figure:
    """Draw marks on a figure whose x axis counts steps; labels of neighbours stand one below the other."""
    if not marks:
        return figure
    steps = [float(x) for trace in figure.data for x in trace.x]
    width = (max(steps) - min(steps)) if steps else 0.0
    level, previous = 0, -float("inf")
    for step, group in _by_step(marks):
        level = (level + 1) % _LEVELS if step - previous < _CLOSE * width else 0
        previous = step
        dash = "solid" if any(mark.is_action for mark in group) else "dot"
        figure.add_vline(x=step, line={"width": 1, "dash": dash, "color": "#808080"})
        figure.add_annotation(
            x=step,
            y=1 - 0.11 * level,
            yref="paper",
            text=" ".join(mark.label for mark in group),
            name="mark",  # the page picks colours by this name
            showarrow=False,
            yanchor="top",
            borderwidth=1,
            borderpad=2,
            font={"size": 11},
        )
    return figure


def _by_step(marks: Sequence[CurveMark]) -> list[tuple[int, list[CurveMark]]]:
    steps: dict[int, list[CurveMark]] = {}
    for mark in marks:
        steps.setdefault(mark.step, []).append(mark)
    return sorted(steps.items())
