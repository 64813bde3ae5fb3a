"""Judging: every rule answers, a broken one too, and roots stand for their groups."""

from __future__ import annotations

from collections.abc import Iterable

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.rule import Needs, Rule
from clearsight.core.view import RunView
from clearsight.debugger.judge import judge, root_findings
from clearsight.debugger.tape import Tape


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


def test_a_broken_rule_is_an_answer_that_says_so() -> None:
    findings = judge([Broken(), Cause()], Tape())
    assert findings[0].rule == "Cause"
    assert findings[1].verdict is Verdict.NOT_ENOUGH_DATA
    assert "ZeroDivisionError: by zero" in findings[1].cause


def test_a_rule_that_says_nothing_is_not_taken_for_clear() -> None:
    assert judge([Mute()], Tape())[0].verdict is Verdict.NOT_ENOUGH_DATA
