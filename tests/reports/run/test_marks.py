from __future__ import annotations

from dataclasses import replace

import numpy as np

from clearsight.reports.charts.learning import rate_curve
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.run.marks import CurveMark, mark, marks
from clearsight.reports.run.report_data import RunReportData
from tests.reports.watched import found


def test_findings_and_actions_are_numbered_by_step(watched: RunReportData) -> None:
    assert [(one.label, one.step, one.text.split(":")[0]) for one in marks(watched)] == [
        ("1", 20, "DeadRelu"),
        ("2", 40, "LearningRateTooHigh"),
        ("▲3", 42, "adjust, because of LearningRateTooHigh"),
        ("4", 44, "LossOscillating"),
        ("▲5", 120, "notify, because of DataWait"),
    ]
    assert marks(watched)[2].text.endswith(": --lr 0.0001, adjusted.")


def test_findings_about_speed_mark_no_curve_of_learning(watched: RunReportData) -> None:
    assert not [one for one in marks(watched) if one.text.startswith("DataWait")]


def test_a_rule_is_marked_once_and_one_without_steps_not_at_all() -> None:
    told = [found("A", steps=(5, 9)), found("A", steps=(1, 9)), found("B", steps=None)]
    assert [one.step for one in marks(RunReportData(name="r", status="completed", findings=told))] == [5]


def test_there_are_never_more_marks_than_can_be_read(watched: RunReportData) -> None:
    many = replace(watched, findings=[found(f"R{i}", steps=(i, i)) for i in range(1, 200)])
    assert len(marks(many)) == 20


def test_marks_near_each_other_stand_at_different_heights_and_those_of_one_step_together() -> None:
    curve = rate_curve(ScalarSeries(np.arange(1, 101), np.ones(100)))
    told = [CurveMark("1", 10, ""), CurveMark("2", 10, ""), CurveMark("▲3", 11, "", done=True), CurveMark("4", 60, "")]
    notes = mark(curve, told).layout.annotations
    assert [(note.text, note.x) for note in notes] == [("1 2", 10), ("▲3", 11), ("4", 60)]
    assert notes[0].y != notes[1].y
    assert notes[0].y == notes[2].y
    assert [shape.line.dash for shape in curve.layout.shapes] == ["dot", "solid", "dot"]


def test_without_marks_a_figure_stays_as_it_is() -> None:
    curve = rate_curve(ScalarSeries(np.arange(3), np.ones(3)))
    assert not mark(curve, ()).layout.annotations
