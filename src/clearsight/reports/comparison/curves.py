"""Section of the curves of a comparison: loss by step and scores by epoch of all runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearsight.core.format import several
from clearsight.reports.charts.series import ScalarSeries, series_by_name
from clearsight.reports.comparison.overlay import OverlayCurve, overlay
from clearsight.reports.comparison.run import ComparedRun
from clearsight.reports.kit.format import general, percent
from clearsight.reports.kit.section import PageSection, Panel, panels_section, table

_POINTS = 120  # of a curve by step
_ROWS = 20  # of a curve by step, in its table
_NARROW = 4  # columns that a table in half the width has room for


def curves(runs: Sequence[ComparedRun]) -> PageSection | None:
    """Return loss by step and scores by epoch of all runs; None before the first step of any."""
    panels = [_step_loss(runs), _by_epoch(runs, "loss"), _by_epoch(runs, "accuracy")]
    shown = [panel for panel in panels if panel is not None]
    return panels_section("curves", "Training", shown) if shown else None


def _step_loss(runs: Sequence[ComparedRun]) -> Panel | None:
    losses = [
        (run.label, index, series)
        for index, run in enumerate(runs)
        if (series := series_by_name(run.report.steps).get(("train", "loss"))) is not None and len(series)
    ]
    if not losses:
        return None
    curves_by_step = []
    for label, index, series in losses:
        # Runs of a few steps are drawn as they are; a median would take their only points.
        smooth = series.smoothed(_POINTS, least=4 if len(series) > _POINTS else 1)
        curves_by_step.append(OverlayCurve(label, index, smooth.steps.tolist(), smooth.values.tolist()))
    rows = [
        (label, step, general(value)) for label, _, series in losses for step, value in _points(series.smoothed(_ROWS))
    ]
    title = "Training loss by step"
    return Panel(
        key="step-loss",
        title=title,
        description=f"Training loss of {several(len(losses), 'run')} by step; of long runs the running median.",
        figure=overlay(curves_by_step, unit="step"),
        table=table(title, ("run", "step", "loss"), "lrr", rows),
        wide=True,
    )


def _by_epoch(runs: Sequence[ComparedRun], name: str) -> Panel | None:
    by_run = [
        (
            run.label,
            index,
            {epoch["epoch"]: epoch["valid"][name] for epoch in run.report.epochs if name in epoch["valid"]},
        )
        for index, run in enumerate(runs)
    ]
    by_run = [(label, index, values) for label, index, values in by_run if values]
    if not by_run:
        return None
    share = name == "accuracy"
    text: Callable[[float | None], str] = percent if share else general
    epochs = sorted({epoch for _, _, values in by_run for epoch in values})
    rows = [(epoch, *(text(values.get(epoch)) for _, _, values in by_run)) for epoch in epochs]
    title = f"Validation {name} by epoch"
    return Panel(
        key=f"epoch-{name}",
        title=title,
        description=f"Validation {name} of {several(len(by_run), 'run')} after each epoch.",
        figure=overlay(
            [OverlayCurve(label, index, list(values), list(values.values())) for label, index, values in by_run],
            unit="epoch",
            share=share,
        ),
        table=table(title, ("epoch", *(label for label, _, _ in by_run)), "r" * (len(by_run) + 1), rows),
        wide=len(by_run) > _NARROW,
    )


def _points(series: ScalarSeries) -> list[tuple[int, float]]:
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
