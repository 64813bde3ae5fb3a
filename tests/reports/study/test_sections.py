"""Charts and tables of the sections of a study's page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.space import Choice, Dimension, Space
from clearsight.core.trial import Objective
from clearsight.reports.kit.section import PageSection, Panel
from clearsight.reports.study.curves import curves
from clearsight.reports.study.front import front
from clearsight.reports.study.history import best_so_far, history
from clearsight.reports.study.importance import importance
from clearsight.reports.study.parallel import parallel
from clearsight.reports.study.provenance import provenance
from clearsight.reports.study.report_data import StudyReportData
from clearsight.reports.study.savings import savings
from clearsight.reports.study.slices import contours, interpolated, slices
from clearsight.reports.study.timeline import timeline
from clearsight.reports.study.trials import trials
from tests.reports.study.conftest import study_report
from tests.reports.study.studied import ACCURACY, SECONDS, START, broken, done, plan, point, searched, stopped


def only(build: Callable[[StudyReportData], PageSection | None], report: StudyReportData, index: int = 0) -> Panel:
    section = build(report)
    assert section is not None
    return section.panels[index]


def traces(panel: Panel) -> dict[str, list[float | None]]:
    return {trace.name: list(trace.y) for trace in panel.figure.data}


def test_history_shows_how_each_trial_ended(report: StudyReportData) -> None:
    drawn = traces(only(history, report))
    assert {name: len(values) for name, values in drawn.items()} == {
        "complete": 21,
        "reused from another trial": 1,
        "pruned, its last value": 7,
        "from an earlier study": 2,
        "failed, no value": 2,
        "best so far": 22,
    }
    markers = [trace.marker.symbol for trace in only(history, report).figure.data if trace.mode == "markers"]
    assert len(set(markers)) == len(markers)


def test_the_best_so_far_never_gets_worse(report: StudyReportData) -> None:
    best = [value for _, value in best_so_far(report.scored, ACCURACY)]
    assert best == sorted(best)
    losses = [value for _, value in best_so_far(report.scored, Objective("loss", "minimize"))]
    assert losses == sorted(losses, reverse=True)


def test_the_table_of_many_trials_lists_those_that_improved_the_best() -> None:
    panel = only(history, study_report([done(i, value=0.5 + (i // 50) / 100) for i in range(300)]))
    assert [row[0] for row in panel.table.rows] == ["0", "50", "100", "150", "200", "250", "299"]


def test_importance_shows_both_methods_with_their_warnings(report: StudyReportData) -> None:
    panel = only(importance, report)
    assert panel.table.columns == ("setting", "fANOVA", "PED-ANOVA")
    assert panel.table.rows[0] == ("lr", "71.0%", "62.0%")
    assert panel.note == "Left out, because too few trials have it: momentum."
    few = replace(study_report(searched(5)), importance={"fanova": {"lr": 0.6}})
    assert "There are only 5 complete trials; such shares may be chance." in only(importance, few).note
    assert importance(replace(report, importance={})) is None


def test_slices_are_sorted_by_importance_and_leave_out_trials_without_the_setting(report: StudyReportData) -> None:
    section = slices(report)
    assert section is not None
    assert [panel.key for panel in section.panels[:2]] == ["study-slice-lr", "study-slice-dropout"]
    assert section.panels[0].figure.layout.xaxis.type == "log"
    momentum = section.panels[-1]
    assert len(momentum.figure.data[0].x) == 9
    assert momentum.note == "The setting does not apply to 13 other complete trials."


def test_long_names_of_choices_are_beside_the_axis() -> None:
    names = tuple(f"timm/a_model_of_long_name_{i}" for i in range(4))
    space = Space((Dimension(name="model", domain=Choice(values=names)),))
    trials = [done(i, params=point(i, space), value=0.5 + i / 100) for i in range(8)]
    panel = only(slices, replace(study_report(trials), plan=plan(space)))
    assert list(panel.figure.data[0].x) == pytest.approx([0.5 + i / 100 for i in range(8)])
    assert panel.figure.layout.yaxis.ticktext[0].startswith("timm/a_model")


def test_trials_of_one_choice_are_side_by_side(report: StudyReportData) -> None:
    section = slices(report)
    assert section is not None
    batch = next(panel for panel in section.panels if panel.key == "study-slice-batch_size").figure.data[0]
    assert len(set(batch.x)) == len(batch.x)


def test_a_surface_needs_eight_trials() -> None:
    kinds = [
        [trace.type for trace in only(contours, study_report([done(i) for i in range(count)])).figure.data]
        for count in (7, 8)
    ]
    assert kinds == [["scatter", "scatter"], ["contour", "scatter", "scatter"]]


def test_the_surface_passes_through_its_trials_and_is_empty_far_from_them() -> None:
    places, values = np.array([[0.1, 0.1], [0.2, 0.1]]), np.array([1.0, 3.0])
    found = interpolated(places, values, np.array([[0.1, 0.1], [0.15, 0.1], [0.9, 0.9]]))
    assert found[0] == pytest.approx(1.0, abs=1e-4)
    assert found[1] == pytest.approx(2.0)
    assert math.isnan(found[2])


def test_dark_is_better_for_losses_too(report: StudyReportData) -> None:
    up = only(contours, report).figure.data[1].marker.colorscale
    loss = replace(report, plan=plan(objectives=(Objective("loss", "minimize"),)))
    down = only(contours, loss).figure.data[1].marker.colorscale
    assert (up[-1][1], down[0][1]) == ("rgba(0,114,178,0.9)", "rgba(0,114,178,0.9)")


def test_parallel_lines_cross_every_axis_with_gaps_where_a_setting_does_not_apply(report: StudyReportData) -> None:
    figure = only(parallel, report).figure
    assert list(figure.layout.yaxis.ticktext) == [*report.settings_by_importance, "accuracy"]
    corners = [x for trace in figure.data[:-1] for x in trace.x]
    assert len(corners) == 22 * 9
    assert corners.count(None) == 22 + 13  # one after each line, and momentum of adamw
    assert figure.data[-1].line.dash == "dash"


def test_of_many_trials_the_best_and_some_others_are_drawn() -> None:
    many = study_report([done(i) for i in range(400)])
    panel = only(parallel, many)
    drawn = {number for trace in panel.figure.data for number in trace.customdata}
    assert {trial.number for trial in many.ranked[:30]} <= drawn
    assert len(drawn) == 150
    assert panel.note == "Shown are 150 of 400 trials: the best 30, and some of the others."


def test_curves_of_pruned_trials_are_dashed_and_listed_with_their_reason(report: StudyReportData) -> None:
    panel = only(curves, report)
    dashes = {trace.name: trace.line.dash for trace in panel.figure.data}
    assert dashes == {"complete": "solid", "pruned": "dash", "best (trial 27)": None}
    row = next(row for row in panel.table.rows if row[0] == "8")
    assert row[1] == "pruned"
    assert row[-1].endswith("is below the median of the others")


def test_an_objective_without_a_curve_has_no_section(report: StudyReportData) -> None:
    assert curves(replace(report, plan=plan(objectives=(SECONDS,)))) is None


def test_long_curves_are_thinned_and_keep_their_end() -> None:
    long = replace(done(0), curve={epoch: epoch / 1000 for epoch in range(1, 501)}, planned=500)
    (best,) = only(curves, study_report([long])).figure.data
    assert len(best.x) <= 61
    assert best.y[-2] == 0.5


def test_the_timeline_has_a_lane_for_each_trial_that_a_worker_trains_at_once() -> None:
    together = [replace(done(i), started=START, worker=0) for i in range(3)]
    alone = [replace(done(3), started=START + 5, worker=1), replace(done(4), started=START + 30, worker=1)]
    panel = only(timeline, study_report([*together, *alone]))
    assert list(panel.figure.layout.yaxis.ticktext) == ["worker 0", "", "", "worker 1"]
    assert panel.table.rows[0][0] == "0"
    assert panel.table.rows[0][4] == "19.0 s"  # the longest of the three, not their sum


def test_a_night_without_work_is_left_out() -> None:
    panel = only(timeline, study_report([done(0), replace(done(1), started=START + 36_000)]))
    assert panel.note.startswith("Left out: 9 h 58 min")
    assert "over 1 min" in panel.description


def test_trials_without_a_worker_or_a_start(report: StudyReportData) -> None:
    assert timeline(study_report([replace(done(0), started=0.0)])) is None
    panel = only(timeline, study_report([replace(done(0), worker=None)]))
    assert list(panel.figure.layout.yaxis.ticktext) == ["unknown worker"]


def test_the_front_is_drawn_and_grows(two_objectives: StudyReportData) -> None:
    section = front(two_objectives)
    assert section is not None
    pair, volume = section.panels
    assert {trace.name: len(trace.x) for trace in pair.figure.data} == {"dominated": 11, "on the front": 10}
    assert pair.figure.data[1].line.shape == "hv"
    assert len(pair.table.rows) == 10
    assert volume.table.rows[-1][1] == "88.8%"


def test_three_objectives_are_drawn_in_pairs(two_objectives: StudyReportData) -> None:
    objectives = (ACCURACY, SECONDS, Objective("parameters", "minimize"))
    trials = [replace(trial, values=(*trial.values, 1e6 + trial.number)) for trial in two_objectives.scored]
    section = front(replace(two_objectives, trials=trials, plan=plan(objectives=objectives), hypervolume=()))
    assert section is not None
    assert [panel.title for panel in section.panels] == [
        "Accuracy and seconds",
        "Accuracy and parameters",
        "Seconds and parameters",
    ]


def test_savings_are_compared_with_the_time_of_the_trials(report: StudyReportData) -> None:
    section = savings(report)
    assert section is not None
    assert [name for name, *_ in section.values["figures"]] == ["cached features", "pruning", "repeated recipes"]
    assert "7 pruned trials did not train 36 of" in section.values["about"]
    assert savings(replace(report, saved={"pruned_epochs": 0, "answered_trials": 0})) is None


def test_trials_are_listed_best_first_then_all_then_imported_ones(report: StudyReportData) -> None:
    section = trials(report)
    assert section is not None
    best, complete, imported = section.tables
    assert [row[0] for row in best.rows[:3]] == ["27", "6", "15"]
    assert best.rows[0][-1].startswith("--lr 0.00352")
    assert [row[0] for row in complete.rows] == [str(number) for number in range(31)]
    assert complete.rows[30][-2] == "result of trial 4, which has the same recipe"
    assert complete.rows[12][-2] == "CUDA out of memory"
    assert [row[2] for row in imported.rows] == ["studies/monday", "studies/monday"]


def test_provenance_shows_the_plan_and_the_space(report: StudyReportData) -> None:
    section = provenance(report)
    plan_table, space, *_ = section.values["tables"]
    assert ("objectives", "maximize accuracy") in plan_table.rows
    assert space.rows[0] == ("lr", "1e-05 to 0.1, logarithmic", "")
    assert space.rows[5] == ("momentum", "0.5 to 0.99", "optimizer is sgd")


@pytest.mark.parametrize("build", [history, slices, contours, parallel, curves, timeline, front, savings, trials])
def test_a_section_without_content_is_none(build: Callable[[StudyReportData], PageSection | None]) -> None:
    assert build(StudyReportData(name="s", status="running", plan=plan())) is None


def test_failed_trials_alone_have_no_history() -> None:
    assert history(study_report([broken(0), broken(1)])) is None
    assert history(study_report([broken(0), stopped(1)])) is not None


def test_losses_over_decades_have_a_logarithmic_axis_in_every_chart() -> None:
    lost = [done(i, value=0.01 * 10 ** (i % 5)) for i in range(10)]
    report = replace(study_report(lost), plan=plan(objectives=(Objective("loss", "minimize"),)))
    assert only(history, report).figure.layout.yaxis.type == "log"
    assert {panel.figure.layout.yaxis.type for panel in slices(report).panels} == {"log"}  # type: ignore[union-attr]
    # From 0.01 to 100: a loss of 1 is in the middle of the axis of results.
    results = [trace.x[-2] for trace in only(parallel, report).figure.data[:-1]]
    assert any(value == pytest.approx(0.5, abs=0.01) for value in results)


def test_an_accuracy_of_1_is_the_end_of_every_axis() -> None:
    perfect = study_report([done(i, value=1.0 - 0.05 * (i % 3)) for i in range(10)])
    ends = [only(build, perfect).figure.layout.yaxis.autorangeoptions.clipmax for build in (history, slices, curves)]
    assert ends == [1.0, 1.0, 1.0]
