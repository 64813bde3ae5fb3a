"""Judging: every rule on one view. A rule that fails itself is an answer too, never silence and never a crash."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clearsight.core.finding import Finding, Verdict
from clearsight.core.rule import Rule
from clearsight.core.view import RunView

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


def group_by_cause(findings: Sequence[Finding], explains: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Found findings with their `group` filled in, in the order in which they should be read.

    explains: rule name to the names of the rules that it explains. Groups come by severity, then by how much the root
    explains, then by confidence; within a group the root first.
    """
    names = list(dict.fromkeys(finding.rule for finding in findings))
    best = {name: min((f for f in findings if f.rule == name), key=_pressing) for name in names}
    climbed = {name: _root(name, names, explains, best) for name in names}
    root = {name: _uncircled(name, climbed, best) for name in names}
    size = {name: sum(root[other] == name for other in names) for name in names}
    worst = {
        name: min(best[other].severity.rank for other in names if root[other] == name) for name in set(root.values())
    }

    def place(finding: Finding) -> tuple[object, ...]:
        head = root[finding.rule]
        group = (worst[head], -size[head], -best[head].confidence, names.index(head))
        return (*group, finding.rule != head, *_pressing(finding), names.index(finding.rule))

    return [replace(finding, group=root[finding.rule]) for finding in sorted(findings, key=place)]


def _root(name: str, names: Sequence[str], explains: Mapping[str, Sequence[str]], best: Mapping[str, Finding]) -> str:
    """Climb from consequence to cause; of several causes the most pressing, and never in a circle."""
    seen = {name}
    while True:
        causes = [
            other
            for other in names
            if other not in seen and (name in explains.get(other, ()) or other in best[name].because)
        ]
        if not causes:
            return name
        name = min(causes, key=lambda other: (_pressing(best[other]), names.index(other)))
        seen.add(name)


def _uncircled(name: str, climbed: Mapping[str, str], best: Mapping[str, Finding]) -> str:
    """The root of a root, until it is its own; of rules that explain each other the most pressing is the root."""
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = climbed[name]
    return min(seen[seen.index(name) :], key=lambda other: (_pressing(best[other]), other))


def _pressing(finding: Finding) -> tuple[int, float]:
    return (finding.severity.rank, -finding.confidence)
