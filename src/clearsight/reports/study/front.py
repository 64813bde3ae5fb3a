"""The section of several objectives: which trials no other beats in everything, and how the front grew."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import plotly.graph_objects as go

from clearsight.core.finding import flags
from clearsight.core.trial import Objective, Trial, pareto_front
from clearsight.reports.charts.learning import BLUE, GREEN, VERMILLION, blank, still
from clearsight.reports.kit.format import percent, several
from clearsight.reports.kit.section import PageSection, Panel, table
from clearsight.reports.study.metric import hover, named, short, titled, value_axis, written
from clearsight.reports.study.report_data import StudyReportData

_ROWS = 40
_PAIRS = 3  # of objectives that are drawn


def front(facts: StudyReportData) -> PageSection | None:
    """None for a single objective and before the first complete trial."""
    aims = facts.plan.objectives
    done = facts.measured
    if len(aims) < 2 or not done:
        return None
    unbeaten = sorted(pareto_front(done, aims), key=lambda one: one.values[0], reverse=aims[0].direction == "maximize")
    pairs = list(combinations(range(len(aims)), 2))[:_PAIRS]
    panels = [_pair(aims, pair, done, unbeaten, wide=len(pairs) == 1 and not facts.hypervolume) for pair in pairs]
    if facts.hypervolume:
        panels.append(_volume(facts))
    about = (
        f"{several(len(unbeaten), 'trial')} of {len(done)} stand on the front: no other is better in one objective "
        "without being worse in another."
    )
    return PageSection(
        key="front", title="Pareto front", template="study_panels.html", values={"about": about}, panels=tuple(panels)
    )


def _pair(
    aims: Sequence[Objective], pair: tuple[int, int], done: Sequence[Trial], unbeaten: Sequence[Trial], *, wide: bool
) -> Panel:
    first, second = (aims[place] for place in pair)
    title = f"{titled(first.metric)} and {named(second.metric)}"
    columns = ("trial", *(named(aim.metric) for aim in aims), "what the recipe changes")
    rows = [
        (
            one.number,
            *(written(aim.metric, value) for aim, value in zip(aims, one.values, strict=True)),
            flags(one.params),
        )
        for one in unbeaten[:_ROWS]
    ]
    return Panel(
        key=f"study-front-{first.metric}-{second.metric}",
        title=title,
        says=f"{title} of {several(len(done), 'trial')}, of which {len(unbeaten)} stand on the Pareto front.",
        figure=_scatter(aims, pair, done, unbeaten),
        table=table(f"The front: {title}", columns, "r" * (len(aims) + 1) + "l", rows),
        wide=wide,
    )


def _scatter(
    aims: Sequence[Objective], pair: tuple[int, int], done: Sequence[Trial], unbeaten: Sequence[Trial]
) -> go.Figure:
    figure, (across, up) = blank(height=360), (aims[pair[1]], aims[pair[0]])
    on_front = {one.number for one in unbeaten}
    along = sorted(unbeaten, key=lambda one: one.values[pair[1]])
    groups = (
        ("beaten", [one for one in done if one.number not in on_front], "markers", BLUE, "circle-open"),
        # A front of more objectives is a surface; a line through it would show nothing.
        ("on the front", along, "lines+markers" if len(aims) == 2 else "markers", VERMILLION, "diamond"),
    )
    for name, trials, mode, colour, symbol in groups:
        if trials:
            figure.add_scatter(
                x=[short(one.values[pair[1]]) for one in trials],
                y=[short(one.values[pair[0]]) for one in trials],
                name=name,
                mode=mode,
                # As steps, since between two trials of the front nothing better than the lesser of them was seen.
                line={
                    "color": colour,
                    "width": 1.5,
                    "dash": "dot",
                    "shape": "hv" if across.direction == "minimize" else "vh",
                },
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=[one.number for one in trials],
                hovertemplate=f"trial %{{customdata}}: {hover(up.metric)}, {hover(across.metric, 'x')}<extra></extra>",
            )
    figure.update_xaxes(**value_axis(across, [one.values[pair[1]] for one in done]))
    figure.update_yaxes(**value_axis(up, [one.values[pair[0]] for one in done]))
    return figure.update_layout(hovermode="closest", showlegend=True)


def _volume(facts: StudyReportData) -> Panel:
    history = facts.hypervolume
    figure = blank(height=360)
    figure.add_scatter(
        x=[number for number, _ in history],
        y=[short(share) for _, share in history],
        mode="lines+markers" if len(history) <= 40 else "lines",
        line={"color": GREEN, "width": 2, "shape": "hv"},
        hovertemplate="trial %{x}: %{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(title_text="trial", tickformat="d")
    figure.update_yaxes(title_text="share of the box that is won", tickformat=".0%", rangemode="tozero")
    grown = [
        one for before, one in zip([None, *history], history, strict=False) if before is None or one[1] > before[1]
    ]
    title = "Hypervolume"
    return Panel(
        key="study-hypervolume",
        title=title,
        says=f"Share of the box between best and worst that the front wins, {percent(history[-1][1])} in the end.",
        figure=still(figure),
        table=table(title, ("trial", "share"), "rr", [(number, percent(share)) for number, share in grown[-_ROWS:]]),
        note="The box reaches from the best value of each objective to a tenth beyond the worst.",
    )
