"""Judging: every rule on one view. A rule that fails itself is an answer too, never silence and never a crash."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from clearsight.core.finding import Finding, Verdict
from clearsight.core.rule import Rule
from clearsight.core.view import RunView
from clearsight.debugger.grouping import group_by_cause

log = logging.getLogger(__name__)


def judge(rules: Sequence[Rule], view: RunView) -> list[Finding]:
    """The findings of all rules on a view: those that found something first, grouped by root cause, then the rest."""
    findings = [finding for rule in rules for finding in _answers(rule, view)]
    told = [finding for finding in findings if finding.found]
    return [*group_by_cause(told, {rule.name: rule.explains for rule in rules}), *(f for f in findings if not f.found)]


def root_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Of judged findings the root causes, most pressing first, one of each rule."""
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.found and finding.group == finding.rule:
            first.setdefault(finding.rule, finding)
    return list(first.values())


def _answers(rule: Rule, view: RunView) -> list[Finding]:
    try:
        answers = list(rule.check(view))
    except Exception as error:
        log.warning("rule %s failed", rule.name, exc_info=True)
        failed = rule.not_enough_data(have=0, cause=f"the rule itself failed: {type(error).__name__}: {error}")
        return [replace(failed, verdict=Verdict.NOT_ENOUGH_DATA)]
    return answers or [rule.not_enough_data(have=0, cause="the rule gave no answer")]
