from __future__ import annotations

from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.rules import rules, rules_table
from tests.reports import watched as hand
from tests.reports.watched import clear


def test_every_rule_that_was_asked_has_a_row_the_worst_first(watched: RunReportData) -> None:
    section = rules(watched)
    assert section is not None
    assert [row[0] for row in section.values["summary"].rows] == [
        "LearningRateTooHigh",
        "DeadRelu",
        "LossOscillating",
        "DataWait",
        "Overfit",
        "BatchSize",
        "ClassImbalance",
        "StepOutlier",
    ]
    assert section.values["about"] == "8 rules asked: 4 found something, 2 clear, 1 not enough data."


def test_a_row_has_verdict_numbers_and_parameters() -> None:
    rows = {row[0]: row[1:] for row in rules_table(hand.rules(), hand.findings()).rows}
    assert rows["DeadRelu"] == ("found", "warning", "91", "50", "%", "2", "", "window=50")
    assert rows["BatchSize"] == ("clear", "", "0.01", "0.3", "", "0", "", "window=50")
    assert rows["ClassImbalance"][:7] == ("not enough data", "", "–", "–", "", "0", "7 of 50 training steps")
    assert rows["StepOutlier"][0] == "–"


def test_a_verdict_of_a_rule_that_nobody_listed_is_shown_too() -> None:
    assert [row[:2] for row in rules_table([], [clear("Mine")]).rows] == [("Mine", "clear")]


def test_rules_that_have_not_answered_yet() -> None:
    section = rules(RunReportData(name="r", status="running", rules=hand.rules()))
    assert section is not None
    assert section.values["about"] == "8 rules asked; none has answered yet."


def test_no_rule_asked_nothing_shown() -> None:
    assert rules(RunReportData(name="r", status="completed")) is None
