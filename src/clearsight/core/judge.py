"""Judgement of a run: every rule on one view, with the findings grouped by root cause.

Each rule names the rules whose findings are its consequences (`explains`), and a finding may name its causes on this
run (`because`). A finding that another one explains follows it: the first to be read is the first to be acted on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from threadpoolctl import ThreadpoolController

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.rule import Rule
from clearsight.core.view import RunView

log = logging.getLogger(__name__)


def judge(rules: Sequence[Rule], view: RunView) -> list[Finding]:
    """Return the findings of all rules: those that found something first, grouped by root cause, then the rest."""
    # Rules solve small equations. The threads of numpy's linear algebra spin while they wait: beside another process
    # on the same cores two of them take much longer than one, and alone they were no faster.
    with _linear_algebra().limit(limits=1, user_api="blas"):
        findings = [finding for rule in rules for finding in _check(rule, view)]
    # The first of a rule is its worst.
    verdicts = {finding.rule: finding.verdict for finding in reversed(findings)}
    by_name = {rule.name: rule for rule in rules}
    findings = [by_name[f.rule].with_verdicts(f, verdicts) if f.found and f.rule in by_name else f for f in findings]
    found = [finding for finding in findings if finding.found]
    return [*group_by_cause(found, {rule.name: rule.explains for rule in rules}), *(f for f in findings if not f.found)]


def root_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Return the root causes among judged findings, most urgent first, one of each rule."""
    first: dict[str, Finding] = {}
    for finding in findings:
        if finding.found and finding.group == finding.rule:
            first.setdefault(finding.rule, finding)
    return list(first.values())


@cache
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries: milliseconds


def _check(rule: Rule, view: RunView) -> list[Finding]:
    try:
        findings = list(rule.check(view))
    except Exception as error:  # rules may be the user's own: a bug in one must not cost the verdicts of the others
        log.warning("rule %s failed", rule.name, exc_info=True)
        failed = rule.not_enough_data(have=0, cause=f"the rule itself failed: {type(error).__name__}: {error}")
        return [replace(failed, verdict=Verdict.NOT_ENOUGH_DATA)]
    # Silence could be read as clear.
    return findings or [rule.not_enough_data(have=0, cause="the rule returned no verdict")]


def group_by_cause(findings: Sequence[Finding], explains: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return found findings with their `group` filled in, in the order in which to read them.

    explains: rule name to the names of the rules that it explains. Groups come by severity, then by how much the root
    explains, then by confidence; within a group the root first.
    """
    names = list(dict.fromkeys(finding.rule for finding in findings))
    best = {name: min((f for f in findings if f.rule == name), key=_urgency) for name in names}
    root_of = {name: _root(name, names, explains, best) for name in names}
    root = {name: _without_circles(name, root_of, best) for name in names}
    size = {name: sum(root[other] == name for other in names) for name in names}
    # A group is as urgent as its worst member: a mild cause with a severe effect comes early.
    worst = {
        name: min(best[other].severity.rank for other in names if root[other] == name) for name in set(root.values())
    }

    def place(finding: Finding) -> tuple[object, ...]:
        head = root[finding.rule]
        group = (worst[head], -size[head], -best[head].confidence, names.index(head))
        return (*group, finding.rule != head, *_urgency(finding), names.index(finding.rule))

    return [replace(finding, group=root[finding.rule]) for finding in sorted(findings, key=place)]


def _root(name: str, names: Sequence[str], explains: Mapping[str, Sequence[str]], best: Mapping[str, Finding]) -> str:
    """Follow a consequence to its cause; of several causes the most urgent one, and never in a circle."""
    seen = {name}
    while True:
        causes = [
            other
            for other in names
            if other not in seen
            and (name in explains.get(other, ()) or other in best[name].because)
            # What is only worth knowing is no cause of lost accuracy: a reader of causes would be told of none.
            and (best[other].severity is not Severity.INFO or best[name].severity is Severity.INFO)
        ]
        if not causes:
            return name
        name = min(causes, key=lambda other: (_urgency(best[other]), names.index(other)))
        seen.add(name)


def _without_circles(name: str, root_of: Mapping[str, str], best: Mapping[str, Finding]) -> str:
    """Return the root of a root, until it is its own; of rules that explain each other the most urgent is the root."""
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = root_of[name]
    return min(seen[seen.index(name) :], key=lambda other: (_urgency(best[other]), other))


def _urgency(finding: Finding) -> tuple[int, float]:
    return (finding.severity.rank, -finding.confidence)
