"""Root causes: which finding explains which, and in what order they are told.

Each rule says whose findings are its consequences (`explains`), and a finding what it comes from on this run
(`because`). A finding that another finding explains stands behind it, so that the first thing read is the first thing
to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from clearsight.core.finding import Finding


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
