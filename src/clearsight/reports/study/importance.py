"""Section of the importance: how much each setting that varies affects the objective, by two methods."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from clearsight.core.format import several
from clearsight.reports.charts.learning import (
    BLUE,
    VERMILLION,
    add_bars,
    empty_figure,
    hatched,
    named_ticks,
    without_zoom,
)
from clearsight.reports.kit.format import UNKNOWN, percent
from clearsight.reports.kit.section import PageSection, Panel, panels_section, table
from clearsight.reports.study.metric import metric_name
from clearsight.reports.study.report_data import StudyReportData

_FEW = 10  # complete trials; with fewer the shares are mostly chance
_METHODS = {"fanova": ("fANOVA", BLUE, ""), "ped_anova": ("PED-ANOVA", VERMILLION, "/")}  # title, colour, hatching
_ABOUT = (
    "fANOVA (Hutter et al. 2014): the share of the variance of {metric} that a setting explains on its own, over the "
    "whole space; the rest up to 100% comes from settings acting together. PED-ANOVA (Watanabe et al. 2023): how much "
    "a setting separates the best trials from the others; its shares add up to 100%."
)


def importance(report: StudyReportData) -> PageSection | None:
    """Return the section; None where there are too few trials."""
    methods = {method: report.importance[method] for method in _METHODS if report.importance.get(method)}
    if not methods:
        return None
    names = list(dict.fromkeys(name for shares in methods.values() for name in shares))  # fANOVA's order first
    title = "Importance of each setting"
    columns = ("setting", *(_METHODS[method][0] for method in methods))
    rows = [(name, *(percent(shares.get(name)) for shares in methods.values())) for name in names]
    largest = percent(next(iter(methods.values())).get(names[0]))
    number, missing = len(report.scored), [name for name in report.plan.space.names if name not in names]
    notes = []
    if number < _FEW:
        notes.append(f"There are only {several(number, 'complete trial')}; such shares may be chance.")
    fanova = report.importance.get("fanova", {})
    if fanova and any(name not in fanova for name in names):
        notes.append(f"{UNKNOWN} in fANOVA: a setting that not every trial has.")
    if missing:
        notes.append(f"Left out, because too few trials have it: {', '.join(missing)}.")
    panel = Panel(
        key="study-importance",
        title=title,
        description=f"Importance of {several(len(names), 'setting')}; {names[0]} is the most important ({largest}).",
        figure=_figure(names, methods),
        table=table(title, columns, "l" + "r" * len(methods), rows),
        note=" ".join(notes),
        wide=True,
    )
    about = _ABOUT.format(metric=metric_name(report.objective.metric))
    return panels_section("importance", "Importance", [panel], about)


def _figure(names: list[str], methods: Mapping[str, Mapping[str, float]]) -> go.Figure:
    upwards = names[::-1]
    figure = empty_figure(height=100 + 40 * max(len(names), 2))
    for method, shares in reversed(list(methods.items())):  # Plotly stacks upwards: the last one is on top of a pair
        title, colour, hatch = _METHODS[method]
        add_bars(figure, title, [shares.get(name) for name in upwards], hatched(colour, hatch), hover="%{x:.1%}")
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02], dtick=0.2)
    figure.update_yaxes(showgrid=False, **named_ticks(upwards))
    layout = {"barmode": "group", "bargap": 0.3, "hovermode": "y unified", "showlegend": True}
    return without_zoom(figure.update_layout(**layout, legend_traceorder="reversed"))
