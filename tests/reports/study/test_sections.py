"""What each chart of the page draws, and what its table says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.space import Choice, Dimension, Space
from clearsight.core.trial import Objective
from clearsight.reports.kit.section import PageSection, Panel
from clearsight.reports.study.contours import contours, interpolated
from clearsight.reports.study.curves import curves
from clearsight.reports.study.front import front
from clearsight.reports.study.history import best_so_far, history
from clearsight.reports.study.importance import importance
from clearsight.reports.study.parallel import parallel
from clearsight.reports.study.provenance import provenance
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.savings import savings
from clearsight.reports.study.slices import slices
from clearsight.reports.study.timeline import timeline
from clearsight.reports.study.trials import trials
from tests.reports.study.conftest import told
from tests.reports.study.studied import ACCURACY, SECONDS, START, broken, done, plan, point, searched, stopped


def only(build: Callable[[StudyReportData], PageSection | None], facts: StudyReportData, place: int = 0) -> Panel:
    section = build(facts)
    assert section is not None
    return section.panels[place]


def traces(panel: Panel) -> dict[str, list[float | None]]:
    return {trace.name: list(trace.y) for trace in panel.figure.data}


def test_history_tells_trials_apart_by_how_they_ended(facts: StudyReportData) -> None:
    drawn = traces(only(history, facts))
    assert {name: len(values) for name, values in drawn.items()} == {
        "complete": 21,
        "answered from another": 1,
        "pruned, its last value": 7,
        "from an earlier study": 2,
        "failed, no value": 2,
        "best so far": 22,
    }
    markers = [trace.marker.symbol for trace in only(history, facts).figure.data if trace.mode == "markers"]
    assert len(set(markers)) == len(markers)


def test_the_best_so_far_never_falls_and_leaves_others_out(facts: StudyReportData) -> None:
    best = [value for _, value in best_so_far(facts.scored, ACCURACY)]
    assert best == sorted(best)
    losses = [value for _, value in best_so_far(facts.scored, Objective("loss", "minimize"))]
    assert losses == sorted(losses, reverse=True)


def test_history_of_many_trials_lists_those_that_brought_something() -> None:
    panel = only(history, told([done(i, value=0.5 + (i // 50) / 100) for i in range(300)]))
    assert [row[0] for row in panel.table.rows] == ["0", "50", "100", "150", "200", "250", "299"]


def test_importance_stands_side_by_side_with_its_warnings(facts: StudyReportData) -> None:
    panel = only(importance, facts)
    assert panel.table.columns == ("setting", "fANOVA", "PED-ANOVA")
    assert panel.table.rows[0] == ("lr", "71.0%", "62.0%")
    assert panel.note == "Not judged, since too few trials have it: momentum."
    few = replace(told(searched(5)), importance={"fanova": {"lr": 0.6}})
    assert "Only 5 complete trials: shares like these come by chance, too." in only(importance, few).note
    assert importance(replace(facts, importance={})) is None


def test_slices_come_by_weight_and_leave_out_where_a_field_does_not_apply(facts: StudyReportData) -> None:
    section = slices(facts)
    assert section is not None
    assert [panel.key for panel in section.panels[:2]] == ["study-slice-lr", "study-slice-dropout"]
    assert section.panels[0].figure.layout.xaxis.type == "log"
    momentum = section.panels[-1]
    assert len(momentum.figure.data[0].x) == 9
    assert momentum.note == "It does not apply to 13 other complete trials."


def test_long_names_of_choices_stand_beside_the_axis() -> None:
    names = tuple(f"timm/a_model_of_long_name_{i}" for i in range(4))
    space = Space((Dimension(name="model", domain=Choice(values=names)),))
    made = [done(i, params=point(i, space), value=0.5 + i / 100) for i in range(8)]
    panel = only(slices, replace(told(made), plan=plan(space)))
    assert list(panel.figure.data[0].x) == pytest.approx([0.5 + i / 100 for i in range(8)])
    assert panel.figure.layout.yaxis.ticktext[0].startswith("timm/a_model")


def test_values_of_a_choice_lie_beside_each_other(facts: StudyReportData) -> None:
    section = slices(facts)
    assert section is not None
    batch = next(panel for panel in section.panels if panel.key == "study-slice-batch_size").figure.data[0]
    assert len(set(batch.x)) == len(batch.x)


def test_a_surface_is_laid_through_eight_trials_and_not_through_seven() -> None:
    kinds = [
        [trace.type for trace in only(contours, told([done(i) for i in range(count)])).figure.data] for count in (7, 8)
    ]
    assert kinds == [["scatter", "scatter"], ["contour", "scatter", "scatter"]]


def test_the_surface_goes_through_its_trials_and_ends_far_from_them() -> None:
    places, values = np.array([[0.1, 0.1], [0.2, 0.1]]), np.array([1.0, 3.0])
    found = interpolated(places, values, np.array([[0.1, 0.1], [0.15, 0.1], [0.9, 0.9]]))
    assert found[0] == pytest.approx(1.0, abs=1e-4)
    assert found[1] == pytest.approx(2.0)
    assert math.isnan(found[2])


def test_dark_is_good_for_losses_too(facts: StudyReportData) -> None:
    up = only(contours, facts).figure.data[1].marker.colorscale
    loss = replace(facts, plan=plan(objectives=(Objective("loss", "minimize"),)))
    down = only(contours, loss).figure.data[1].marker.colorscale
    assert (up[-1][1], down[0][1]) == ("rgba(0,114,178,0.9)", "rgba(0,114,178,0.9)")


def test_parallel_lines_cross_every_axis_with_gaps_where_a_field_does_not_apply(facts: StudyReportData) -> None:
    figure = only(parallel, facts).figure
    assert list(figure.layout.yaxis.ticktext) == [*facts.weighty, "accuracy"]
    corners = [x for trace in figure.data[:-1] for x in trace.x]
    assert len(corners) == 22 * 9
    assert corners.count(None) == 22 + 13  # one behind each line, and momentum of adamw
    assert figure.data[-1].line.dash == "dash"


def test_of_many_trials_some_lines_are_drawn_the_best_among_them() -> None:
    many = told([done(i) for i in range(400)])
    panel = only(parallel, many)
    drawn = {number for trace in panel.figure.data for number in trace.customdata}
    assert {trial.number for trial in many.ranked[:30]} <= drawn
    assert len(drawn) == 150
    assert panel.note == "Drawn are 150 of 400 trials: the best 30, and some of the others."


def test_curves_of_pruned_trials_are_dashed_and_told_with_their_reason(facts: StudyReportData) -> None:
    panel = only(curves, facts)
    looks = {trace.name: trace.line.dash for trace in panel.figure.data}
    assert looks == {"complete": "solid", "pruned": "dash", "best (trial 27)": None}
    row = next(row for row in panel.table.rows if row[0] == "8")
    assert row[1] == "pruned"
    assert row[-1].endswith("is below the median of the others")


def test_an_objective_that_has_no_curve_has_no_section(facts: StudyReportData) -> None:
    assert curves(replace(facts, plan=plan(objectives=(SECONDS,)))) is None


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    long = replace(done(0), curve={epoch: epoch / 1000 for epoch in range(1, 501)}, planned=500)
    (best,) = only(curves, told([long])).figure.data
    assert len(best.x) <= 61
    assert best.y[-2] == 0.5


def test_the_timeline_has_a_row_per_worker_and_lanes_for_what_is_trained_at_once() -> None:
    together = [replace(done(i), started=START, worker=0) for i in range(3)]
    alone = [replace(done(3), started=START + 5, worker=1), replace(done(4), started=START + 30, worker=1)]
    panel = only(timeline, told([*together, *alone]))
    assert list(panel.figure.layout.yaxis.ticktext) == ["worker 0", "", "", "worker 1"]
    assert panel.table.rows[0][0] == "0"
    assert panel.table.rows[0][4] == "19.0 s"  # the longest of the three, not their sum


def test_a_night_in_which_nobody_worked_is_left_out() -> None:
    panel = only(timeline, told([done(0), replace(done(1), started=START + 36_000)]))
    assert panel.note.startswith("Left out: 9 h 58 min")
    assert "over 1 min" in panel.says


def test_trials_without_a_worker_or_a_beginning(facts: StudyReportData) -> None:
    assert timeline(told([replace(done(0), started=0.0)])) is None
    panel = only(timeline, told([replace(done(0), worker=None)]))
    assert list(panel.figure.layout.yaxis.ticktext) == ["no worker known"]


def test_the_front_is_drawn_and_grows(two_aims: StudyReportData) -> None:
    section = front(two_aims)
    assert section is not None
    pair, volume = section.panels
    assert {trace.name: len(trace.x) for trace in pair.figure.data} == {"beaten": 11, "on the front": 10}
    assert pair.figure.data[1].line.shape == "hv"
    assert len(pair.table.rows) == 10
    assert volume.table.rows[-1][1] == "88.8%"


def test_three_objectives_are_drawn_in_pairs(two_aims: StudyReportData) -> None:
    aims = (ACCURACY, SECONDS, Objective("parameters", "minimize"))
    made = [replace(one, values=(*one.values, 1e6 + one.number)) for one in two_aims.scored]
    section = front(replace(two_aims, trials=made, plan=plan(objectives=aims), hypervolume=()))
    assert section is not None
    assert [panel.title for panel in section.panels] == [
        "Accuracy and seconds",
        "Accuracy and parameters",
        "Seconds and parameters",
    ]


def test_savings_are_told_against_what_was_spent(facts: StudyReportData) -> None:
    section = savings(facts)
    assert section is not None
    assert [name for name, *_ in section.values["figures"]] == ["kept features", "pruning", "same recipe again"]
    assert "7 pruned trials left 36 of" in section.values["about"]
    assert savings(replace(facts, saved={"pruned_epochs": 0, "answered_trials": 0})) is None


def test_trials_are_listed_best_first_then_all_then_those_of_others(facts: StudyReportData) -> None:
    section = trials(facts)
    assert section is not None
    best, every, brought = section.tables
    assert [row[0] for row in best.rows[:3]] == ["27", "6", "15"]
    assert best.rows[0][-1].startswith("--lr 0.00352")
    assert [row[0] for row in every.rows] == [str(number) for number in range(31)]
    assert every.rows[30][-2] == "answered from trial 4, which has the same recipe"
    assert every.rows[12][-2] == "CUDA out of memory"
    assert [row[2] for row in brought.rows] == ["studies/monday", "studies/monday"]


def test_provenance_says_what_was_asked_and_the_space(facts: StudyReportData) -> None:
    section = provenance(facts)
    asked, space, *_ = section.values["tables"]
    assert ("objectives", "maximize accuracy") in asked.rows
    assert space.rows[0] == ("lr", "1e-05 to 0.1, by orders of magnitude", "")
    assert space.rows[5] == ("momentum", "0.5 to 0.99", "optimizer is sgd")


@pytest.mark.parametrize("build", [history, slices, contours, parallel, curves, timeline, front, savings, trials])
def test_a_section_with_nothing_to_say_is_none(build: Callable[[StudyReportData], PageSection | None]) -> None:
    assert build(StudyReportData(name="s", status="running", plan=plan())) is None


def test_failed_trials_alone_have_no_history() -> None:
    assert history(told([broken(0), broken(1)])) is None
    assert history(told([broken(0), stopped(1)])) is not None
