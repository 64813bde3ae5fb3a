"""Findings as a page tells them: those that come of one root cause together, the root first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from clearsight.core.finding import Finding, Severity, Verdict


@dataclass(frozen=True)
class RootCause:
    """root: the finding to act on.  also: what the same rule found elsewhere.  consequences: what comes of it."""

    root: Finding
    also: tuple[Finding, ...]
    consequences: tuple[Finding, ...]


def root_causes(findings: Sequence[Finding]) -> list[RootCause]:
    """Found findings by their `group`, in the order in which they were given."""
    members: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.found:
            members.setdefault(finding.group or finding.rule, []).append(finding)
    return [_cause(name, of_it) for name, of_it in members.items()]


def most_urgent(findings: Sequence[Finding], speed: Collection[str] = ()) -> Finding | None:
    """The root to act on first: that of the first cause which is, or leads to, more than worth knowing.

    speed: rules about how fast a run is; what is wrong with the result comes before them.
    """
    causes = root_causes(findings)
    for cause in sorted(causes, key=lambda cause: cause.root.rule in speed):
        every = (cause.root, *cause.also, *cause.consequences)
        if any(finding.severity is not Severity.INFO for finding in every):
            return cause.root
    return None


def verdicts(findings: Sequence[Finding]) -> Mapping[str, Verdict]:
    """Each rule's verdict: found where it found anything, else what it said first."""
    told: dict[str, Verdict] = {}
    for finding in findings:
        if finding.found or finding.rule not in told:
            told[finding.rule] = finding.verdict
    return told


def counted(findings: Sequence[Finding]) -> str:
    """How many rules found something, are clear, or lack data: "2 found something, 29 clear, 8 not enough data"."""
    number = Counter(verdicts(findings).values())
    words = {Verdict.FOUND: "found something", Verdict.CLEAR: "clear", Verdict.NOT_ENOUGH_DATA: "not enough data"}
    return ", ".join(f"{number[verdict]} {said}" for verdict, said in words.items() if number[verdict])


def _cause(name: str, members: Sequence[Finding]) -> RootCause:
    root = next((finding for finding in members if finding.rule == name), members[0])
    also = tuple(finding for finding in members if finding.rule == root.rule and finding is not root)
    return RootCause(root, also, tuple(finding for finding in members if finding.rule != root.rule))
