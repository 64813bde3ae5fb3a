from __future__ import annotations

from dataclasses import replace

from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.training import curves


def drawn(facts: RunReportData) -> PageSection:
    section = curves(facts)
    assert section is not None
    return section


def test_loss_comes_first_then_every_score_then_the_steps(facts: RunReportData) -> None:
    keys = [panel.key for panel in drawn(facts).panels]
    assert keys == ["epoch-loss", "epoch-accuracy", "epoch-macro_f1", "step-loss", "rate"]


def test_each_chart_has_its_numbers_behind_it(facts: RunReportData) -> None:
    loss = drawn(facts).panels[0]
    assert [row[0] for row in loss.table.rows] == [str(n) for n in range(1, 9)]
    assert float(loss.table.rows[-1][2]) == round(facts.epochs[-1]["valid"]["loss"], 4)
    assert all(0 < len(panel.table.rows) <= 40 for panel in drawn(facts).panels)


def test_a_run_without_a_validation_split_draws_training_alone(facts: RunReportData) -> None:
    alone = replace(facts, epochs=[{**epoch, "valid": {}} for epoch in facts.epochs])
    assert [trace.name for trace in drawn(alone).panels[0].figure.data] == ["training"]


def test_without_steps_the_rate_is_shown_by_epoch(facts: RunReportData) -> None:
    rate = drawn(replace(facts, steps=[])).panels[-1]
    assert rate.title == "Learning rate by epoch"
    assert len(rate.figure.data[0].x) == 8


def test_before_the_first_epoch_the_steps_are_there(facts: RunReportData) -> None:
    section = drawn(replace(facts, epochs=[], steps=facts.steps[:10]))
    assert [panel.key for panel in section.panels] == ["step-loss", "rate"]
    assert section.values["epochs"] is None


def test_a_loss_that_broke_is_said(facts: RunReportData) -> None:
    broken = {"step": 999, "epoch": 8, "mode": "train", "name": "loss", "value": float("nan")}
    panel = next(p for p in drawn(replace(facts, steps=[*facts.steps, broken])).panels if p.key == "step-loss")
    assert panel.note == "1 step had a loss that is not a finite number."


def test_nothing_happened_nothing_shown() -> None:
    assert curves(RunReportData(name="r", status="failed")) is None


def test_the_speed_of_each_epoch_and_which_was_kept(facts: RunReportData) -> None:
    rows = drawn(facts).values["epochs"].rows
    assert [row[-1] for row in rows] == [""] * 6 + ["kept", ""]
    assert rows[0][2:5] == ("3.4 s", "185", "4.0%")


def test_the_gradient_norm_has_a_chart_of_its_own(watched: RunReportData) -> None:
    gradient = next(panel for panel in drawn(watched).panels if panel.key == "step-gradient")
    assert len(gradient.figure.data[0].x) == 160
    assert gradient.figure.layout.yaxis.type is None


def test_a_gradient_that_spans_decades_is_drawn_on_a_logarithmic_axis(facts: RunReportData) -> None:
    norms = [{"step": i, "epoch": 1, "mode": "train", "name": "grad_norm", "value": 10.0 ** (i % 5)} for i in range(50)]
    gradient = next(panel for panel in drawn(replace(facts, steps=norms)).panels if panel.key == "step-gradient")
    assert gradient.figure.layout.yaxis.type == "log"


def test_curves_over_steps_are_marked_and_the_marks_are_listed(watched: RunReportData) -> None:
    section = drawn(watched)
    assert [mark.label for mark in section.values["marks"]] == ["1", "2", "▲3", "4", "▲5"]
    for key in ("step-loss", "step-gradient", "rate"):
        panel = next(panel for panel in section.panels if panel.key == key)
        assert [note.text for note in panel.figure.layout.annotations] == ["1", "2", "▲3", "4", "▲5"]


def test_without_steps_no_mark_is_listed(watched: RunReportData) -> None:
    assert drawn(replace(watched, steps=[])).values["marks"] == ()
