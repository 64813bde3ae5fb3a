"""Section of the training: scores by epoch and curves by step, with a mark where a rule found or changed something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
import plotly.graph_objects as go

from clearsight.core.finding import flags
from clearsight.core.format import duration, rate, several
from clearsight.reports.charts.learning import GREY, add_mark, learning_curve, rate_curve, step_curve
from clearsight.reports.charts.series import ScalarSeries, series_by_name
from clearsight.reports.kit.format import general, percent, sentence
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.report_data import RunReportData

_ROWS = 40  # of a table by step
_MARKS = 20  # more labels than these cover the curve
_CLOSE = 0.035  # share of the axis; labels of marks nearer than this would lie on each other
_LEVELS = 4  # heights at which labels stand
_TITLES = {"macro_f1": "Macro F1", "roc_auc": "ROC-AUC", "lr": "Learning rate"}


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
    first: dict[str, tuple[int, str, bool]] = {}  # rule -> step, text, whether it is an action
    for finding in report.findings:
        if finding.found and finding.steps is not None and finding.rule not in report.speed_rules:
            first.setdefault(finding.rule, (finding.steps[0], f"{finding.rule}: {sentence(finding.cause)}", False))
    events = list(first.values())
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
    steps = [float(x) for trace in figure.data for x in trace.x]
    width = (max(steps) - min(steps)) if steps else 0.0
    level, previous = 0, -float("inf")
    for step, at_step in groupby(sorted(marks, key=attrgetter("step")), key=attrgetter("step")):
        group = list(at_step)
        level = (level + 1) % _LEVELS if step - previous < _CLOSE * width else 0
        previous = step
        dash = "solid" if any(mark.is_action for mark in group) else "dot"
        line, text = {"width": 1, "dash": dash, "color": GREY}, " ".join(mark.label for mark in group)
        # The page picks colours by the name "mark".
        style = {"name": "mark", "borderwidth": 1, "borderpad": 2, "font": {"size": 11}}
        add_mark(figure, step, text, line=line, y=1 - 0.11 * level, **style)
    return figure


def training(report: RunReportData) -> PageSection | None:
    """Return the section; None before the first step."""
    step_marks = marks(report) if report.steps else ()
    by_step = _by_step(report, step_marks)
    panels = (*_by_epoch(report), *by_step)
    if not panels:
        return None
    # Of an external loop no times are known.
    epochs = _epoch_table(report) if all("seconds" in epoch for epoch in report.epochs) and report.epochs else None
    return PageSection(
        key="curves",  # links and report.json have always called it so
        title="Training",
        template="run/training.html",
        values={"epochs": epochs, "marks": step_marks if by_step else ()},
        panels=panels,
        tables=(epochs,) if epochs else (),
    )


def _by_epoch(report: RunReportData) -> list[Panel]:
    names = dict.fromkeys(name for epoch in report.epochs for side in ("train", "valid") for name in epoch[side])
    numbers = [epoch["epoch"] for epoch in report.epochs]
    best, panels = report.best["epoch"] if report.best else None, []
    # Loss and accuracy come first, the other scores in the order of the records.
    for name in sorted(names, key=lambda name: (name != "loss", name != "accuracy")):
        train = [epoch["train"].get(name) for epoch in report.epochs]
        valid = [epoch["valid"].get(name) for epoch in report.epochs]
        score = _TITLES.get(name, name.replace("_", " ").capitalize())
        title = f"{score} by epoch"
        rows = [(n, general(t), general(v)) for n, t, v in zip(numbers, train, valid, strict=True)]
        panels.append(
            Panel(
                key=f"epoch-{name}",
                title=title,
                description=f"{score} on training and validation images over {several(len(numbers), 'epoch')}.",
                figure=learning_curve(numbers, train, valid, best=best, metric=name),
                table=table(title, ("epoch", "training", "validation"), "rrr", rows),
            )
        )
    return panels


def _by_step(report: RunReportData, step_marks: Sequence[CurveMark]) -> list[Panel]:
    series, panels = series_by_name(report.steps), []
    loss, gradient, learning_rate = (series.get(("train", name)) for name in ("loss", "grad_norm", "lr"))
    if loss:
        panels.append(_loss(loss, series.get(("eval", "valid_loss")), step_marks))
    if gradient:
        panels.append(_gradient(gradient, step_marks))
    if learning_rate:
        panels.append(_learning_rate(learning_rate, "step", step_marks))
    # The rate is known by epoch even where no step was saved.
    elif learning_rate is None and report.epochs:
        epochs, rates = (np.array([epoch[key] for epoch in report.epochs]) for key in ("epoch", "lr"))
        panels.append(_learning_rate(ScalarSeries(epochs, rates), "epoch", ()))
    return panels


def _loss(loss: ScalarSeries, valid: ScalarSeries | None, step_marks: Sequence[CurveMark]) -> Panel:
    return Panel(
        key="step-loss",
        title="Loss by step",
        description=f"Training loss at each of {several(len(loss), 'step')}, with its running median.",
        figure=draw_marks(step_curve(loss, valid), step_marks),
        table=_step_table("Loss by step (running median)", loss),
        note=f"The loss of {several(loss.broken, 'step')} is not a finite number." if loss.broken else "",
    )


def _gradient(gradient: ScalarSeries, step_marks: Sequence[CurveMark]) -> Panel:
    figure = step_curve(gradient, metric="grad_norm")
    median = general(float(np.median(gradient.values)))
    return Panel(
        key="step-gradient",
        title="Gradient norm by step",
        description=f"Norm of the gradient of all trained parameters, median {median}.",
        figure=draw_marks(figure, step_marks),
        table=_step_table("Gradient norm by step (running median)", gradient),
        note=f"The gradient of {several(gradient.broken, 'step')} is not finite." if gradient.broken else "",
    )


def _learning_rate(learning_rate: ScalarSeries, unit: str, step_marks: Sequence[CurveMark]) -> Panel:
    first, last = general(learning_rate.values[0]), general(learning_rate.values[-1])
    return Panel(
        key="rate",
        title=f"Learning rate by {unit}",
        description=f"Learning rate from {first} to {last}.",
        figure=draw_marks(rate_curve(learning_rate, unit=unit), step_marks),
        table=_step_table("Learning rate", learning_rate, unit),
    )


def _step_table(caption: str, series: ScalarSeries, unit: str = "step") -> Table:
    listed = series.smoothed(_ROWS)
    rows = [(step, general(value)) for step, value in zip(listed.steps, listed.values, strict=True)]
    return table(caption, (unit, "value"), "rr", rows)


def _epoch_table(report: RunReportData) -> Table:
    columns = ("epoch", "learning rate", "time", "images/s", "waiting for data", "")
    rows = [
        (
            epoch["epoch"],
            general(epoch["lr"]),
            duration(epoch["seconds"]),
            rate(epoch["images_per_second"]),
            percent(epoch["data_share"]),
            "best" if report.best is epoch else "",
        )
        for epoch in report.epochs
    ]
    return table("Speed of each epoch", columns, "rrrrrl", rows)
