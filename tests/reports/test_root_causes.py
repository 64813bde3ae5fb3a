from __future__ import annotations

from clearsight.core.finding import Severity, Verdict
from clearsight.reports.root_causes import counted, most_urgent, root_causes, verdicts
from tests.reports.watched import clear, findings, found, unsure


def test_findings_stand_with_their_root_in_the_given_order() -> None:
    causes = root_causes(findings())
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
