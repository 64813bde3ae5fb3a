from __future__ import annotations

from dataclasses import replace

import numpy as np

from clearsight.reports.charts.learning import rate_curve
from clearsight.reports.charts.series import ScalarSeries
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.training import CurveMark, draw_marks, marks, training
from tests.reports.watched import found


def drawn(report: RunReportData) -> PageSection:
    section = training(report)
    assert section is not None
    return section


def test_loss_comes_first_then_every_score_then_the_steps(report: RunReportData) -> None:
    keys = [panel.key for panel in drawn(report).panels]
    assert keys == ["epoch-loss", "epoch-accuracy", "epoch-macro_f1", "step-loss", "rate"]


def test_each_chart_has_a_table_of_its_numbers(report: RunReportData) -> None:
    loss = drawn(report).panels[0]
    assert [row[0] for row in loss.table.rows] == [str(n) for n in range(1, 9)]
    assert float(loss.table.rows[-1][2]) == round(report.epochs[-1]["valid"]["loss"], 4)
    assert all(0 < len(panel.table.rows) <= 40 for panel in drawn(report).panels)


def test_a_run_without_a_validation_split_draws_training_alone(report: RunReportData) -> None:
    alone = replace(report, epochs=[{**epoch, "valid": {}} for epoch in report.epochs])
    assert [trace.name for trace in drawn(alone).panels[0].figure.data] == ["training"]


def test_without_steps_the_rate_is_shown_by_epoch(report: RunReportData) -> None:
    rate = drawn(replace(report, steps=[])).panels[-1]
    assert rate.title == "Learning rate by epoch"
    assert len(rate.figure.data[0].x) == 8


def test_before_the_first_epoch_there_are_charts_by_step(report: RunReportData) -> None:
    section = drawn(replace(report, epochs=[], steps=report.steps[:10]))
    assert [panel.key for panel in section.panels] == ["step-loss", "rate"]
    assert section.values["epochs"] is None


def test_losses_that_are_not_finite_are_counted(report: RunReportData) -> None:
    broken = {"step": 999, "epoch": 8, "mode": "train", "name": "loss", "value": float("nan")}
    panel = next(p for p in drawn(replace(report, steps=[*report.steps, broken])).panels if p.key == "step-loss")
    assert panel.note == "The loss of 1 step is not a finite number."


def test_before_the_first_step_there_is_no_section() -> None:
    assert training(RunReportData(name="r", status="failed")) is None


def test_the_table_has_the_speed_of_each_epoch_and_the_best_one(report: RunReportData) -> None:
    rows = drawn(report).values["epochs"].rows
    assert [row[-1] for row in rows] == [""] * 6 + ["best", ""]
    assert rows[0][2:5] == ("3.4 s", "185", "4.0%")


def test_the_gradient_norm_has_a_chart_of_its_own(watched: RunReportData) -> None:
    gradient = next(panel for panel in drawn(watched).panels if panel.key == "step-gradient")
    assert len(gradient.figure.data[0].x) == 160
    assert gradient.figure.layout.yaxis.type is None


def test_a_gradient_that_spans_decades_is_drawn_on_a_logarithmic_axis(report: RunReportData) -> None:
    norms = [{"step": i, "epoch": 1, "mode": "train", "name": "grad_norm", "value": 10.0 ** (i % 5)} for i in range(50)]
    gradient = next(panel for panel in drawn(replace(report, steps=norms)).panels if panel.key == "step-gradient")
    assert gradient.figure.layout.yaxis.type == "log"


def test_curves_over_steps_are_marked_and_the_marks_are_listed(watched: RunReportData) -> None:
    section = drawn(watched)
    assert [mark.label for mark in section.values["marks"]] == ["1", "2", "▲3", "4", "▲5"]
    for key in ("step-loss", "step-gradient", "rate"):
        panel = next(panel for panel in section.panels if panel.key == key)
        assert [note.text for note in panel.figure.layout.annotations] == ["1", "2", "▲3", "4", "▲5"]


def test_without_steps_no_mark_is_listed(watched: RunReportData) -> None:
    assert drawn(replace(watched, steps=[])).values["marks"] == ()


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
