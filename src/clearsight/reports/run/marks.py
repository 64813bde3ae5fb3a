"""Marks on the curves of a run: numbered steps at which a rule found something, or something was done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from clearsight.core.finding import flags
from clearsight.reports.run.findings import sentence
from clearsight.reports.run.report_data import RunReportData

_MARKS = 20
_CLOSE = 0.035  # marks nearer than this share of the axis would lie on each other
_LEVELS = 4


@dataclass(frozen=True)
class CurveMark:
    """label: a number, behind a triangle where something was done.  text: what happened, for the list below."""

    label: str
    step: int
    text: str
    done: bool = False


def marks(facts: RunReportData) -> tuple[CurveMark, ...]:
    """The first finding of each rule about learning, and every action, numbered by step.

    Findings about speed speak of the run as a whole; on a curve of the loss they would mark nothing.
    """
    speed = {rule["name"] for rule in facts.rules if rule.get("topic") == "speed"}
    seen: dict[str, tuple[int, str]] = {}
    for finding in facts.findings:
        if finding.found and finding.steps is not None and finding.rule not in speed | set(seen):
            seen[finding.rule] = (finding.steps[0], f"{finding.rule}: {sentence(finding.cause)}")
    told = [(step, text, False) for step, text in seen.values()]
    for action in facts.actions:
        changed = flags(action.get("changed") or {})
        words = ", ".join(word for word in (changed, str(action.get("outcome") or "")) if word)
        told.append(
            (
                int(action["step"]),
                f"{action['action']}, because of {action['rule']}: {words or 'nothing came of it'}.",
                True,
            )
        )
    ordered = sorted(told, key=lambda one: (one[0], one[2]))[:_MARKS]
    return tuple(
        CurveMark(f"▲{i}" if done else str(i), step, text, done)
        for i, (step, text, done) in enumerate(ordered, start=1)
    )


def mark(figure: go.Figure, shown: Sequence[CurveMark]) -> go.Figure:
    """Draw marks on a figure whose x axis counts steps; those near each other stand one below the other."""
    if not shown:
        return figure
    places = [float(x) for trace in figure.data for x in trace.x]
    width = (max(places) - min(places)) if places else 0.0
    level, before = 0, -float("inf")
    for step, together in _by_step(shown):
        level = (level + 1) % _LEVELS if step - before < _CLOSE * width else 0
        before = step
        done = any(one.done for one in together)
        figure.add_vline(x=step, line={"width": 1, "dash": "solid" if done else "dot", "color": "#808080"})
        figure.add_annotation(
            x=step,
            y=1 - 0.11 * level,
            yref="paper",
            text=" ".join(one.label for one in together),
            name="mark",
            showarrow=False,
            yanchor="top",
            borderwidth=1,
            borderpad=2,
            font={"size": 11},
        )
    return figure


def _by_step(shown: Sequence[CurveMark]) -> list[tuple[int, list[CurveMark]]]:
    steps: dict[int, list[CurveMark]] = {}
    for one in shown:
        steps.setdefault(one.step, []).append(one)
    return sorted(steps.items())
