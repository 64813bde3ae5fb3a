from __future__ import annotations

from dataclasses import replace

import numpy as np

from clearsight.reports.charts.learning import rate_curve
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.run.marks import CurveMark, draw_marks, marks
from clearsight.reports.run.report_data import RunReportData
from tests.reports.watched import found


def test_findings_and_actions_are_numbered_by_step(watched: RunReportData) -> None:
    assert [(mark.label, mark.step, mark.text.split(":")[0]) for mark in marks(watched)] == [
        ("1", 20, "DeadRelu"),
        ("2", 40, "LearningRateTooHigh"),
        ("▲3", 42, "adjust, because of LearningRateTooHigh"),
        ("4", 44, "LossOscillating"),
        ("▲5", 120, "notify, because of DataWait"),
    ]
    assert marks(watched)[2].text.endswith(": --lr 0.0001, adjusted.")


def test_findings_about_speed_are_not_marked(watched: RunReportData) -> None:
    assert not [mark for mark in marks(watched) if mark.text.startswith("DataWait")]


def test_a_rule_is_marked_once_and_a_finding_without_steps_never() -> None:
    findings = [found("A", steps=(5, 9)), found("A", steps=(1, 9)), found("B", steps=None)]
    assert [mark.step for mark in marks(RunReportData(name="r", status="completed", findings=findings))] == [5]


def test_there_are_at_most_twenty_marks(watched: RunReportData) -> None:
    many = replace(watched, findings=[found(f"R{i}", steps=(i, i)) for i in range(1, 200)])
    assert len(marks(many)) == 20


def test_neighbouring_labels_have_different_heights_and_those_of_one_step_are_joined() -> None:
    curve = rate_curve(ScalarSeries(np.arange(1, 101), np.ones(100)))
    drawn = [
        CurveMark("1", 10, ""),
        CurveMark("2", 10, ""),
        CurveMark("▲3", 11, "", is_action=True),
        CurveMark("4", 60, ""),
    ]
    notes = draw_marks(curve, drawn).layout.annotations
    assert [(note.text, note.x) for note in notes] == [("1 2", 10), ("▲3", 11), ("4", 60)]
    assert notes[0].y != notes[1].y
    assert notes[0].y == notes[2].y
    assert [shape.line.dash for shape in curve.layout.shapes] == ["dot", "solid", "dot"]


def test_without_marks_a_figure_is_unchanged() -> None:
    curve = rate_curve(ScalarSeries(np.arange(3), np.ones(3)))
    assert not draw_marks(curve, ()).layout.annotations
