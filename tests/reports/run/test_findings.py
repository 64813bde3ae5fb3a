from __future__ import annotations

from clearsight.core.finding import Severity, Verdict
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.findings import (
    counts_by_verdict,
    findings,
    measured,
    most_urgent,
    quantity,
    root_causes,
    rules,
    rules_table,
    verdicts,
)
from clearsight.reports.run.report_data import RunReportData
from tests.reports.watched import clear, curve, found, not_enough_data
from tests.reports.watched import findings as watched_findings
from tests.reports.watched import rules as watched_rules


def shown(report: RunReportData) -> PageSection:
    section = findings(report)
    assert section is not None
    return section


def test_root_causes_have_fix_topic_details_and_evidence(watched: RunReportData) -> None:
    first = shown(watched).values["causes"][0]
    assert first["root"]["fix"] == "--lr 0.0001 --warmup 0.1"
    assert first["root"]["topic"] == "learning"
    assert dict(first["root"]["details"]) == {
        "measured": "0.41 of the loss (threshold: 0.15 of the loss)",
        "steps": "40 to 160",
        "confidence": "93.0%",
    }
    assert [line.name for line in first["root"]["lines"]] == ["loss", "gradient norm"]
    assert first["names"] == "LossOscillating"
    assert first["consequences"][0]["cause"] == "The loss swings by 0.48 around its mean."


def test_other_places_of_the_same_rule_are_named_and_then_counted() -> None:
    many = [found("DeadRelu", subject=f"layer{i}", unit="%", value=60 + i, threshold=50) for i in range(20)]
    (cause,) = shown(RunReportData(name="r", status="completed", findings=many)).values["causes"]
    assert cause["others"][0] == "layer1; 61% (threshold: 50%); steps 40 to 160"
    assert (len(cause["others"]), cause["left"]) == (8, 11)


def test_without_problems_the_verdicts_are_counted() -> None:
    section = shown(RunReportData(name="r", status="completed", findings=[clear("A"), clear("B")]))
    assert (section.values["causes"], section.values["counts"]) == ([], "2 clear")
    assert section.scripts == ()


def test_empty_evidence_is_not_drawn() -> None:
    bare = found("A", evidence=(curve("loss", points=0), curve("loss")))
    (cause,) = shown(RunReportData(name="r", status="completed", findings=[bare])).values["causes"]
    assert len(cause["root"]["lines"]) == 1


def test_numbers_keep_their_unit() -> None:
    assert quantity(12.34, "%") == "12.34%"
    assert quantity(12.34, "% of the loss") == "12.34% of the loss"
    assert quantity(3, "") == "3"
    assert measured(found("A", value=2.0, threshold=None, unit="steps")) == "2 steps"
    assert measured(found("A", value=None)) == ""


def test_findings_are_grouped_by_root_cause_in_the_given_order() -> None:
    causes = root_causes(watched_findings())
    assert [cause.root.rule for cause in causes] == ["LearningRateTooHigh", "DataWait", "DeadRelu"]
    assert [finding.rule for finding in causes[0].consequences] == ["LossOscillating"]
    assert [finding.subject for finding in causes[2].others] == ["layer3.1.relu"]


def test_a_consequence_that_comes_first_does_not_become_the_root() -> None:
    (cause,) = root_causes([found("B", group="A"), found("A")])
    assert (cause.root.rule, [finding.rule for finding in cause.consequences]) == ("A", ["B"])


def test_the_first_of_a_group_stands_in_for_a_root_that_found_nothing() -> None:
    (cause,) = root_causes([found("B", group="A"), found("C", group="A")])
    assert cause.root.rule == "B"


def test_information_is_not_urgent() -> None:
    info = found("A", severity=Severity.INFO)
    assert most_urgent([info, clear("B")]) is None
    assert most_urgent([]) is None
    warning = found("B")
    assert most_urgent([info, warning]) is warning


def test_a_root_is_as_urgent_as_its_worst_consequence() -> None:
    root = found("A", severity=Severity.INFO)
    assert most_urgent([root, found("B", group="A")]) is root


def test_rules_are_counted_once_and_found_wins() -> None:
    verdicts_of_rules = [clear("A"), found("A"), found("A"), clear("B"), not_enough_data("C")]
    assert verdicts(verdicts_of_rules) == {"A": Verdict.FOUND, "B": Verdict.CLEAR, "C": Verdict.NOT_ENOUGH_DATA}
    assert counts_by_verdict(verdicts_of_rules) == "1 found something, 1 clear, 1 not enough data"
    assert counts_by_verdict([clear("A")]) == "1 clear"
    assert counts_by_verdict([]) == ""


def test_a_wrong_result_comes_before_a_slow_run() -> None:
    slow, wrong = found("StepOutlier"), found("Overfit")
    assert most_urgent([slow, wrong]) == slow
    assert most_urgent([slow, wrong], speed={"StepOutlier"}) == wrong
    assert most_urgent([slow], speed={"StepOutlier"}) == slow


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
    rows = {row[0]: row[1:] for row in rules_table(watched_rules(), watched_findings()).rows}
    assert rows["DeadRelu"] == ("found", "warning", "91", "50", "%", "2", "", "window=50")
    assert rows["BatchSize"] == ("clear", "", "0.01", "0.3", "", "0", "", "window=50")
    assert rows["ClassImbalance"][:7] == ("not enough data", "", "–", "–", "", "0", "7 of 50 training steps")
    assert rows["StepOutlier"][0] == "–"


def test_a_verdict_of_an_unlisted_rule_is_shown_too() -> None:
    assert [row[:2] for row in rules_table([], [clear("Mine")]).rows] == [("Mine", "clear")]


def test_rules_without_a_verdict_are_counted() -> None:
    section = rules(RunReportData(name="r", status="running", rules=watched_rules()))
    assert section is not None
    assert section.values["about"] == "8 rules; none has a verdict yet."


def test_without_rules_there_is_no_section() -> None:
    assert findings(RunReportData(name="r", status="completed")) is None
    assert rules(RunReportData(name="r", status="completed")) is None
