"""Judging: every rule answers, a broken one too, and roots stand for their groups."""

from __future__ import annotations

from collections.abc import Iterable

from threadpoolctl import threadpool_info, threadpool_limits

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.judge import group_by_cause, judge, root_findings
from clearsight.core.rule import Needs, Rule
from clearsight.core.view import RunView
from clearsight.debugger.storage.tape import Tape


class Cause(Rule):
    severity = Severity.WARNING
    explains = ("Consequence",)

    def needs(self) -> Needs:
        return Needs()

    def check(self, view: RunView) -> Iterable[Finding]:
        yield self.found(value=2, threshold=1, steps=(1, 2), cause="so")


class Consequence(Cause):
    severity = Severity.SEVERE
    explains = ()


class Broken(Cause):
    def check(self, view: RunView) -> Iterable[Finding]:
        raise ZeroDivisionError("by zero")


class Mute(Cause):
    def check(self, view: RunView) -> Iterable[Finding]:
        return []


def test_the_root_stands_first_and_for_its_group() -> None:
    findings = judge([Consequence(), Cause()], Tape())
    assert [(finding.rule, finding.group) for finding in findings] == [("Cause", "Cause"), ("Consequence", "Cause")]
    assert [finding.rule for finding in root_findings(findings)] == ["Cause"]


def linear_algebra_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


class CountThreads(Cause):
    def check(self, view: RunView) -> Iterable[Finding]:
        yield self.found(value=max(linear_algebra_threads()), threshold=1, steps=(1, 2), cause="so")


def test_rules_solve_their_equations_in_one_thread() -> None:
    with threadpool_limits(2, user_api="blas"):
        [finding] = judge([CountThreads()], Tape())
        assert (finding.value, linear_algebra_threads()) == (1, {2})


class Worth(Cause):
    severity = Severity.INFO


def test_what_is_only_worth_knowing_is_no_root_of_something_severe() -> None:
    findings = judge([Worth(), Consequence()], Tape())
    assert [(finding.rule, finding.group) for finding in findings] == [
        ("Consequence", "Consequence"),
        ("Worth", "Worth"),
    ]


def test_a_broken_rule_is_an_answer_that_says_so() -> None:
    findings = judge([Broken(), Cause()], Tape())
    assert findings[0].rule == "Cause"
    assert findings[1].verdict is Verdict.NOT_ENOUGH_DATA
    assert "ZeroDivisionError: by zero" in findings[1].cause


def test_a_rule_that_says_nothing_is_not_taken_for_clear() -> None:
    assert judge([Mute()], Tape())[0].verdict is Verdict.NOT_ENOUGH_DATA


EXPLAINS = {"Dead": ("Vanishing", "Stuck"), "Vanishing": ("Stuck",), "Rate": ("Exploding", "Dead"), "Circle": ("Rate",)}


def found(rule: str, severity: Severity = Severity.WARNING, confidence: float = 0.9, subject: str = "") -> Finding:
    return Finding(rule=rule, verdict=Verdict.FOUND, severity=severity, confidence=confidence, subject=subject)


def told(*findings: Finding) -> list[tuple[str, str]]:
    return [(finding.rule, finding.group) for finding in group_by_cause(findings, EXPLAINS)]


def test_a_dead_layer_explains_the_vanishing_gradient_behind_it() -> None:
    assert told(found("Vanishing"), found("Dead")) == [("Dead", "Dead"), ("Vanishing", "Dead")]


def test_causes_are_followed_to_the_root() -> None:
    order = told(found("Stuck"), found("Vanishing"), found("Dead"), found("Rate"))
    assert order[0] == ("Rate", "Rate")
    assert {group for _, group in order} == {"Rate"}


def test_unrelated_findings_are_groups_of_their_own_the_severest_first() -> None:
    assert told(found("Leak"), found("Nan", Severity.SEVERE)) == [("Nan", "Nan"), ("Leak", "Leak")]


def test_a_mild_cause_of_something_severe_comes_before_a_mild_one_alone() -> None:
    order = told(found("Leak", confidence=1.0), found("Dead"), found("Stuck", Severity.SEVERE))
    assert order == [("Dead", "Dead"), ("Stuck", "Dead"), ("Leak", "Leak")]


def test_a_circle_of_causes_comes_to_an_end() -> None:
    order = group_by_cause([found("Circle"), found("Rate")], {"Circle": ("Rate",), "Rate": ("Circle",)})
    assert [(finding.rule, finding.group) for finding in order] == [("Circle", "Circle"), ("Rate", "Circle")]


def test_several_tensors_of_a_rule_stay_together_the_surest_first() -> None:
    order = group_by_cause([found("Dead", confidence=0.5, subject="a"), found("Dead", subject="b")], EXPLAINS)
    assert [finding.subject for finding in order] == ["b", "a"]


def test_nothing_found_is_nothing_to_group() -> None:
    assert group_by_cause([], EXPLAINS) == []
