"""The section of slices: the objective against each varied field, one small chart per field."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from clearsight.core.trial import Objective, Trial
from clearsight.reports.charts.learning import VERMILLION, blank, still
from clearsight.reports.kit.format import several
from clearsight.reports.kit.section import PageSection, Panel, Table, table
from clearsight.reports.study.field_axis import FieldAxis, said
from clearsight.reports.study.metric import hover, named, short, titled, value_axis, written
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
_ROOM = 36  # letters below an axis
PALE_TO_BLUE = [[0, "rgba(0,114,178,0.18)"], [1, "rgba(0,114,178,1)"]]
RING = {"symbol": "circle-open", "size": 15, "color": VERMILLION, "line": {"width": 2.5, "color": VERMILLION}}


def slices(facts: StudyReportData) -> PageSection | None:
    """None before the first complete trial. The fields that matter most come first."""
    if not facts.scored:
        return None
    panels = []
    for name in facts.weighty:
        axis = FieldAxis.of(name, facts.plan.space, facts.scored)
        shown = [trial for trial in facts.scored if axis.holds(trial.params)]
        if shown:
            panels.append(_panel(facts, axis, shown))
    if not panels:
        return None
    about = "Every complete trial at its value of one setting: the fuller the colour, the later. The ring is the best."
    return PageSection(
        key="slices", title="Slices", template="study_panels.html", values={"about": about}, panels=tuple(panels)
    )


def _panel(facts: StudyReportData, axis: FieldAxis, shown: Sequence[Trial]) -> Panel:
    aim, title = facts.aim, f"{titled(facts.aim.metric)} by {axis.name}"
    missing = len(facts.scored) - len(shown)
    best = facts.best_trial
    at_best = f"; the best has {said(best.params[axis.name])}" if best is not None and axis.holds(best.params) else ""
    return Panel(
        key=f"study-slice-{axis.name}",
        title=title,
        says=f"{titled(aim.metric)} of {several(len(shown), 'trial')} against {axis.name}{at_best}.",
        figure=_figure(aim, axis, shown, best),
        table=_table(title, aim, axis, shown),
        note=f"It does not apply to {several(missing, 'other complete trial')}." if missing else "",
    )


def _figure(aim: Objective, axis: FieldAxis, shown: Sequence[Trial], best: Trial | None) -> go.Figure:
    lying = _long(axis)  # long names have room beside an axis, not below it
    figure = blank(height=90 + 34 * len(axis.choices) if lying else 270)
    places = [short(place) for place in _spread(axis, shown)]
    values = [short(trial.values[0]) for trial in shown]
    across, up = (values, places) if lying else (places, values)
    figure.add_scatter(
        x=across,
        y=up,
        mode="markers",
        marker={
            "size": 8 if len(shown) <= 100 else 6,
            "color": list(range(len(shown))),
            "colorscale": PALE_TO_BLUE,
            "line": {"width": 1, "color": "rgba(0,114,178,0.6)"},
        },
        customdata=[[trial.number, said(trial.params[axis.name])] for trial in shown],
        hovertemplate=f"trial %{{customdata[0]}}: {hover(aim.metric, 'x' if lying else 'y')}<extra></extra>",
        showlegend=False,
    )
    if best is not None and best in shown:
        figure.add_scatter(
            x=[across[shown.index(best)]],
            y=[up[shown.index(best)]],
            mode="markers",
            marker=RING,
            hoverinfo="skip",
            showlegend=False,
        )
    looks = [axis.look(), {**value_axis(aim, [trial.values[0] for trial in shown]), "nticks": 5}]
    of_x, of_y = looks[::-1] if lying else looks
    figure.update_xaxes(**of_x)
    figure.update_yaxes(**of_y)
    return still(figure.update_layout(hovermode="closest", margin_t=12))


def _long(axis: FieldAxis) -> bool:
    return sum(len(said(value)) for value in axis.choices) > _ROOM


def _spread(axis: FieldAxis, shown: Sequence[Trial]) -> list[float]:
    """Places on the axis; those of a choice beside each other in their order, else they would lie on one another."""
    places = [axis.at(trial.params) for trial in shown]
    if not axis.choices:
        return places
    size, seen, spread = {place: places.count(place) for place in places}, dict.fromkeys(places, 0), []
    for place in places:
        spread.append(place + 0.5 * ((seen[place] + 0.5) / size[place] - 0.5))
        seen[place] += 1
    return spread


def _table(title: str, aim: Objective, axis: FieldAxis, shown: Sequence[Trial]) -> Table:
    """The best of the trials, which is what slices are read for, in the order of the field."""
    first = sorted(shown, key=lambda one: one.values[0], reverse=aim.direction == "maximize")[:_ROWS]
    ordered = sorted(first, key=lambda one: axis.at(one.params))
    rows = [(said(one.params[axis.name]), written(aim.metric, one.values[0]), one.number) for one in ordered]
    caption = title if len(first) == len(shown) else f"{title}, the best {_ROWS} trials"
    return table(caption, (axis.name, named(aim.metric), "trial"), "rrr", rows)
