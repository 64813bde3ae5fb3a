from __future__ import annotations

from clearsight.core.finding import Severity, Verdict
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.findings import (
    counted,
    findings,
    measured,
    most_urgent,
    quantity,
    root_causes,
    sentence,
    verdicts,
)
from clearsight.reports.run.report_data import RunReportData
from tests.reports.watched import clear, curve, found, unsure
from tests.reports.watched import findings as watched_findings


def shown(facts: RunReportData) -> PageSection:
    section = findings(facts)
    assert section is not None
    return section


def test_no_rule_asked_nothing_shown() -> None:
    assert findings(RunReportData(name="r", status="completed")) is None


def test_root_causes_come_with_all_that_is_known_of_them(watched: RunReportData) -> None:
    first = shown(watched).values["causes"][0]
    assert first["root"]["fix"] == "--lr 0.0001 --warmup 0.1"
    assert first["root"]["topic"] == "learning"
    assert dict(first["root"]["known"]) == {
        "measured": "0.41 of the loss, held against 0.15 of the loss",
        "steps": "40 to 160",
        "sure": "93.0%",
    }
    assert [line.name for line in first["root"]["lines"]] == ["loss", "gradient norm"]
    assert first["names"] == "LossOscillating"
    assert first["consequences"][0]["cause"] == "The loss swings by 0.48 around its course."


def test_other_places_of_the_same_rule_are_named_and_then_counted() -> None:
    many = [found("DeadRelu", subject=f"layer{i}", unit="%", value=60 + i, threshold=50) for i in range(20)]
    (cause,) = shown(RunReportData(name="r", status="completed", findings=many)).values["causes"]
    assert cause["also"][0] == "layer1; 61%, held against 50%; steps 40 to 160"
    assert (len(cause["also"]), cause["left"]) == (8, 11)


def test_where_nothing_was_found_that_is_said() -> None:
    section = shown(RunReportData(name="r", status="completed", findings=[clear("A"), clear("B")]))
    assert (section.values["causes"], section.values["counts"]) == ([], "2 clear")
    assert section.scripts == ()


def test_evidence_that_is_empty_is_not_drawn() -> None:
    bare = found("A", evidence=(curve("loss", points=0), curve("loss")))
    (cause,) = shown(RunReportData(name="r", status="completed", findings=[bare])).values["causes"]
    assert len(cause["root"]["lines"]) == 1


def test_words_become_sentences_and_numbers_keep_their_unit() -> None:
    assert sentence("the loss rose") == "The loss rose."
    assert sentence("Was it 3.5? ") == "Was it 3.5?"
    assert sentence("") == ""
    assert quantity(12.34, "%") == "12.34%"
    assert quantity(12.34, "% of the loss") == "12.34% of the loss"
    assert quantity(3, "") == "3"
    assert measured(found("A", value=2.0, threshold=None, unit="steps")) == "2 steps"
    assert measured(found("A", value=None)) == ""


def test_findings_stand_with_their_root_in_the_given_order() -> None:
    causes = root_causes(watched_findings())
    assert [cause.root.rule for cause in causes] == ["LearningRateTooHigh", "DataWait", "DeadRelu"]
    assert [one.rule for one in causes[0].consequences] == ["LossOscillating"]
    assert [one.subject for one in causes[2].also] == ["layer3.1.relu"]


def test_a_consequence_that_comes_first_does_not_become_the_root() -> None:
    (cause,) = root_causes([found("B", group="A"), found("A")])
    assert (cause.root.rule, [one.rule for one in cause.consequences]) == ("A", ["B"])


def test_a_root_that_found_nothing_leaves_the_first_of_its_group_in_its_place() -> None:
    (cause,) = root_causes([found("B", group="A"), found("C", group="A")])
    assert cause.root.rule == "B"


def test_what_is_pressing_is_more_than_worth_knowing() -> None:
    info = found("A", severity=Severity.INFO)
    assert most_urgent([info, clear("B")]) is None
    assert most_urgent([]) is None
    warning = found("B")
    assert most_urgent([info, warning]) is warning


def test_a_root_is_as_pressing_as_the_worst_that_comes_of_it() -> None:
    root = found("A", severity=Severity.INFO)
    assert most_urgent([root, found("B", group="A")]) is root


def test_rules_are_counted_once_and_found_wins() -> None:
    told = [clear("A"), found("A"), found("A"), clear("B"), unsure("C")]
    assert verdicts(told) == {"A": Verdict.FOUND, "B": Verdict.CLEAR, "C": Verdict.NOT_ENOUGH_DATA}
    assert counted(told) == "1 found something, 1 clear, 1 not enough data"
    assert counted([clear("A")]) == "1 clear"
    assert counted([]) == ""


def test_what_is_wrong_with_the_result_comes_before_what_is_slow() -> None:
    slow, wrong = found("StepOutlier"), found("Overfit")
    assert most_urgent([slow, wrong]) == slow
    assert most_urgent([slow, wrong], speed={"StepOutlier"}) == wrong
    assert most_urgent([slow], speed={"StepOutlier"}) == slow
