"""Findings that share a cause stand together, the root cause first."""

from __future__ import annotations

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.debugger.grouping import group_by_cause

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
