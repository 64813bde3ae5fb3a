"""The section of learning curves: loss and every score by epoch; loss, gradient and learning rate by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearsight.reports.charts.learning import learning_curve, rate_curve, step_curve
from clearsight.reports.charts.series import ScalarSeries, by_name
from clearsight.reports.kit.format import duration, general, percent, several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.run.marks import CurveMark, mark, marks
from clearsight.reports.run.report_data import RunReportData

_SHARES = ("accuracy", "top5")
_WIDE = 100  # from this ratio of high to low on, only a logarithmic axis shows both
_TITLES = {"macro_f1": "Macro F1", "roc_auc": "ROC-AUC", "lr": "Learning rate"}


def curves(facts: RunReportData) -> PageSection | None:
    """Nothing to show before the first step."""
    shown = marks(facts) if facts.steps else ()
    by_step = _by_step(facts, shown)
    panels = (*_by_epoch(facts), *by_step)
    if not panels:
        return None
    epochs = _epoch_table(facts) if facts.epochs else None
    return PageSection(
        key="curves",
        title="Training",
        template="curves.html",
        values={"epochs": epochs, "marks": shown if by_step else ()},
        panels=panels,
        tables=(epochs,) if epochs else (),
    )


def _by_epoch(facts: RunReportData) -> list[Panel]:
    names = {name: None for epoch in facts.epochs for side in ("train", "valid") for name in epoch[side]}
    numbers = [epoch["epoch"] for epoch in facts.epochs]
    best = facts.best
    panels = []
    for name in sorted(names, key=lambda name: (name != "loss", name != "accuracy")):
        train = [epoch["train"].get(name) for epoch in facts.epochs]
        valid = [epoch["valid"].get(name) for epoch in facts.epochs]
        title = f"{_title(name)} by epoch"
        rows = [(n, general(t), general(v)) for n, t, v in zip(numbers, train, valid, strict=True)]
        panels.append(
            Panel(
                key=f"epoch-{name}",
                title=title,
                says=f"{_title(name)} on training and validation images over {several(len(numbers), 'epoch')}.",
                figure=learning_curve(
                    numbers, train, valid, best=best["epoch"] if best else None, share=name in _SHARES
                ),
                table=table(title, ("epoch", "training", "validation"), "rrr", rows),
            )
        )
    return panels


def _by_step(facts: RunReportData, shown: Sequence[CurveMark]) -> list[Panel]:
    found = by_name(facts.steps)
    panels = []
    loss, valid = found.get(("train", "loss")), found.get(("eval", "valid_loss"))
    if loss is not None and len(loss):
        broken = f"{several(loss.broken, 'step')} had a loss that is not a finite number." if loss.broken else ""
        panels.append(
            Panel(
                key="step-loss",
                title="Loss by step",
                says=f"Training loss at each of {several(len(loss), 'step')}, with its running median.",
                figure=mark(step_curve(loss, valid), shown),
                table=_step_table("Loss by step (median of each stretch)", loss),
                note=broken,
            )
        )
    gradient = found.get(("train", "grad_norm"))
    if gradient is not None and len(gradient):
        panels.append(_gradient(gradient, shown))
    rate, unit = found.get(("train", "lr")), "step"
    if rate is None and facts.epochs:
        rate = ScalarSeries(
            np.array([epoch["epoch"] for epoch in facts.epochs]), np.array([epoch["lr"] for epoch in facts.epochs])
        )
        unit = "epoch"
    if rate is not None and len(rate):
        panels.append(
            Panel(
                key="rate",
                title=f"Learning rate by {unit}",
                says=f"Learning rate from {general(rate.values[0])} to {general(rate.values[-1])}.",
                figure=mark(rate_curve(rate, unit=unit), shown if unit == "step" else ()),
                table=_step_table("Learning rate", rate, unit),
            )
        )
    return panels


def _gradient(gradient: ScalarSeries, shown: Sequence[CurveMark]) -> Panel:
    figure = step_curve(gradient)
    low, high = np.percentile(gradient.values, (1, 99))
    if low > 0 and high > _WIDE * low:
        figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    broken = f"{several(gradient.broken, 'step')} had a gradient that is not a finite number." * bool(gradient.broken)
    return Panel(
        key="step-gradient",
        title="Gradient norm by step",
        says=f"Norm of the gradient of all trained parameters, median {general(float(np.median(gradient.values)))}.",
        figure=mark(figure, shown),
        table=_step_table("Gradient norm by step (median of each stretch)", gradient),
        note=broken,
    )


def _step_table(caption: str, series: ScalarSeries, unit: str = "step") -> Table:
    shown = series.smoothed(40)
    rows = [(step, general(value)) for step, value in zip(shown.steps, shown.values, strict=True)]
    return table(caption, (unit, "value"), "rr", rows)


def _epoch_table(facts: RunReportData) -> Table:
    columns = ("epoch", "learning rate", "time", "images/s", "waiting for data", "")
    rows = [
        (
            epoch["epoch"],
            general(epoch["lr"]),
            duration(epoch["seconds"]),
            f"{epoch['images_per_second']:,.0f}",
            percent(epoch["data_share"]),
            "kept" if facts.best is epoch else "",
        )
        for epoch in facts.epochs
    ]
    return table("Speed of each epoch", columns, "rrrrrl", rows)


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())
