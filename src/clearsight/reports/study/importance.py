"""The section of importance: how much each varied field counts, by two methods side by side."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from clearsight.reports.charts.learning import BLUE, VERMILLION, blank, named_ticks, still
from clearsight.reports.kit.format import UNKNOWN, percent, several
from clearsight.reports.kit.section import PageSection, Panel, table
from clearsight.reports.study.metric import named
from clearsight.reports.study.report_data import StudyReportData

_FEW = 10  # complete trials, fewer of which make shares of chance
_METHODS = {"fanova": ("fANOVA", BLUE, ""), "ped_anova": ("PED-ANOVA", VERMILLION, "/")}
_ABOUT = (
    "fANOVA (Hutter et al. 2014): the share of the variance of {metric} that a setting explains alone, over the whole "
    "space; what is missing to 100% lies in how settings act together. PED-ANOVA (Watanabe et al. 2023): how far a "
    "setting sets the best trials apart from the others; its shares add up to 100%."
)


def importance(facts: StudyReportData) -> PageSection | None:
    """None where the trials are too few to say."""
    known = {method: facts.importance[method] for method in _METHODS if facts.importance.get(method)}
    if not known:
        return None
    names = list(dict.fromkeys(name for shares in known.values() for name in shares))  # fANOVA's order first
    title = "Importance of each setting"
    columns = ("setting", *(_METHODS[method][0] for method in known))
    rows = [(name, *(percent(shares.get(name)) for shares in known.values())) for name in names]
    first = next(iter(known.values()))
    says = f"Importance of {several(len(names), 'setting')}; {names[0]} counts most ({percent(first.get(names[0]))})."
    panel = Panel(
        key="study-importance",
        title=title,
        says=says,
        figure=_figure(names, known),
        table=table(title, columns, "l" + "r" * len(known), rows),
        note=_note(facts, names),
        wide=True,
    )
    about = _ABOUT.format(metric=named(facts.aim.metric))
    return PageSection(
        key="importance", title="Importance", template="study_panels.html", values={"about": about}, panels=(panel,)
    )


def _note(facts: StudyReportData, names: list[str]) -> str:
    done, missing = len(facts.scored), [name for name in facts.plan.space.names if name not in names]
    told = [f"Only {several(done, 'complete trial')}: shares like these come by chance, too."] if done < _FEW else []
    fanova = facts.importance.get("fanova", {})
    if fanova and any(name not in fanova for name in names):
        told.append(f"{UNKNOWN} in fANOVA: a setting that not every trial has.")
    if missing:
        told.append(f"Not judged, since too few trials have it: {', '.join(missing)}.")
    return " ".join(told)


def _figure(names: list[str], known: Mapping[str, Mapping[str, float]]) -> go.Figure:
    upwards = names[::-1]
    figure = blank(height=100 + 40 * max(len(names), 2))
    for method, shares in reversed(list(known.items())):  # the first stands on top of each pair
        called, colour, hatch = _METHODS[method]
        figure.add_bar(
            x=[shares.get(name) for name in upwards],
            y=list(range(len(upwards))),
            name=called,
            orientation="h",
            marker={"color": colour, "opacity": 0.8, "pattern": {"shape": hatch, "size": 5, "solidity": 0.35}},
            hovertemplate="%{x:.1%}",
        )
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02], dtick=0.2)
    figure.update_yaxes(showgrid=False, **named_ticks(upwards))
    layout = {"barmode": "group", "bargap": 0.3, "hovermode": "y unified", "showlegend": True}
    return still(figure.update_layout(**layout, legend_traceorder="reversed"))
