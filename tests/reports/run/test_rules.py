from __future__ import annotations

from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.rules import rules, rules_table
from tests.reports import watched as by_hand
from tests.reports.watched import clear


def test_every_rule_has_a_row_the_worst_first(watched: RunReportData) -> None:
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
    assert section.values["about"] == "8 rules: 4 found something, 2 clear, 1 not enough data."


def test_a_row_has_verdict_numbers_and_parameters() -> None:
    rows = {row[0]: row[1:] for row in rules_table(by_hand.rules(), by_hand.findings()).rows}
    assert rows["DeadRelu"] == ("found", "warning", "91", "50", "%", "2", "", "window=50")
    assert rows["BatchSize"] == ("clear", "", "0.01", "0.3", "", "0", "", "window=50")
    assert rows["ClassImbalance"][:7] == ("not enough data", "", "–", "–", "", "0", "7 of 50 training steps")
    assert rows["StepOutlier"][0] == "–"


def test_a_verdict_of_an_unlisted_rule_is_shown_too() -> None:
    assert [row[:2] for row in rules_table([], [clear("Mine")]).rows] == [("Mine", "clear")]


def test_rules_without_a_verdict_are_counted() -> None:
    section = rules(RunReportData(name="r", status="running", rules=by_hand.rules()))
    assert section is not None
    assert section.values["about"] == "8 rules; none has a verdict yet."


def test_without_rules_there_is_no_section() -> None:
    assert rules(RunReportData(name="r", status="completed")) is None
