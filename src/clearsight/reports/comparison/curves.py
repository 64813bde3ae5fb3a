"""The section of a comparison's curves: loss by step and scores by epoch of all runs over each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clearsight.reports.charts.series import ScalarSeries, by_name
from clearsight.reports.comparison.overlay import OverlayCurve, overlay
from clearsight.reports.comparison.run import ComparedRun
from clearsight.reports.kit.format import general, percent, several
from clearsight.reports.kit.section import PageSection, Panel, table

_POINTS = 120  # of a curve by step
_LISTED = 20  # of the same in its table


def curves(runs: Sequence[ComparedRun]) -> PageSection | None:
    """Loss by step and scores by epoch of all runs over each other; None before the first step of any."""
    panels = [_step_loss(runs), _by_epoch(runs, "loss"), _by_epoch(runs, "accuracy")]
    drawn = tuple(panel for panel in panels if panel is not None)
    if not drawn:
        return None
    return PageSection(key="curves", title="Training", template="compare_curves.html", panels=drawn)


def _step_loss(runs: Sequence[ComparedRun]) -> Panel | None:
    known = [
        (run.label, place, series)
        for place, run in enumerate(runs)
        if (series := by_name(run.facts.steps).get(("train", "loss"))) is not None and len(series)
    ]
    if not known:
        return None
    smooth = [
        (label, place, series.smoothed(_POINTS, least=4 if len(series) > _POINTS else 1))
        for label, place, series in known
    ]
    drawn = [OverlayCurve(label, place, one.steps.tolist(), one.values.tolist()) for label, place, one in smooth]
    rows = [
        (label, step, general(value)) for label, _, series in known for step, value in _points(series.smoothed(_LISTED))
    ]
    title = "Training loss by step"
    return Panel(
        key="step-loss",
        title=title,
        says=f"Training loss of {several(len(known), 'run')} at each step, as a running median where there are many.",
        figure=overlay(drawn, unit="step"),
        table=table(title, ("run", "step", "loss"), "lrr", rows),
        wide=True,
    )


def _by_epoch(runs: Sequence[ComparedRun], name: str) -> Panel | None:
    known = [
        (
            run.label,
            place,
            {epoch["epoch"]: epoch["valid"][name] for epoch in run.facts.epochs if name in epoch["valid"]},
        )
        for place, run in enumerate(runs)
    ]
    known = [one for one in known if one[2]]
    if not known:
        return None
    share = name == "accuracy"
    written: Callable[[float | None], str] = percent if share else general
    last = sorted({epoch for _, _, values in known for epoch in values})
    rows = [(epoch, *(written(values.get(epoch)) for _, _, values in known)) for epoch in last]
    title = f"Validation {name} by epoch"
    return Panel(
        key=f"epoch-{name}",
        title=title,
        says=f"Validation {name} of {several(len(known), 'run')} after each epoch.",
        figure=overlay(
            [OverlayCurve(label, place, list(values), list(values.values())) for label, place, values in known],
            unit="epoch",
            share=share,
        ),
        table=table(title, ("epoch", *(label for label, _, _ in known)), "r" * (len(known) + 1), rows),
        wide=len(known) > 4,
    )


def _points(series: ScalarSeries) -> list[tuple[int, float]]:
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
