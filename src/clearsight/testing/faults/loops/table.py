"""Table of the benchmark of loops: how often the cause of a harmful fault is named, and how often healthy runs disturb.

A fault is harmful where its run is at least `MIN_HARM` below the healthy run of the same recipe on correct validation
images, or, for faults of the reported figure, where that figure differs as much from the correct one.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from clearsight.core.statistics import wilson
from clearsight.testing.faults.loops.cases import ALL_KINDS, kind
from clearsight.testing.faults.loops.diagnosis import LoopResult
from clearsight.testing.faults.loops.kind import LoopFault

MIN_HARM = 0.05  # of accuracy
_FIRST = 2  # root causes that a reader acts on
LoopVerdict = Literal["named", "near", "misleading", "nothing"]
_VERDICTS: tuple[LoopVerdict, ...] = ("named", "near", "misleading", "nothing")
_HEAD = ("kind", "what is wrong", "harmful", "harm", *_VERDICTS, "source")


@dataclass(frozen=True, kw_only=True)
class HarmfulRun:
    """A run whose fault cost something, with that cost and what the rules made of it."""

    result: LoopResult
    harm: float
    verdict: LoopVerdict


def verdict(fault: LoopFault, root_causes: Sequence[str]) -> LoopVerdict:
    """Return what the root causes, the most important first, say about a fault."""
    first = root_causes[:_FIRST]
    if any(rule in fault.accepted for rule in first):
        return "named"
    if any(rule in fault.near for rule in first):
        return "near"
    return "misleading" if first else "nothing"


def harm(result: LoopResult, twin: LoopResult) -> float:
    """Return the accuracy that a fault cost against the healthy run, or by which the reported figure is wrong."""
    cost = twin.honest - result.honest
    return max(cost, abs(result.reported - result.honest)) if kind(result.fault).reports else cost


def harmful_runs(results: Sequence[LoopResult]) -> list[HarmfulRun]:
    """Return the faulty runs that did harm; scripts that their fault stopped, and runs without a twin, are left out."""
    twins = {(r.place, r.seed, r.variant): r for r in results if not r.fault}
    found = []
    for result in results:
        twin = twins.get((result.place, result.seed, result.variant))
        if result.fault and twin is not None and not result.stopped:
            cost = harm(result, twin)
            if cost >= MIN_HARM:
                found.append(
                    HarmfulRun(result=result, harm=cost, verdict=verdict(kind(result.fault), result.root_causes))
                )
    return found


def sums(results: Sequence[LoopResult]) -> list[str]:
    """Return the totals of a part, a line each."""
    runs, n = harmful_runs(results), len(harmful_runs(results))
    faulty, healthy = [r for r in results if r.fault], [r for r in results if not r.fault]
    counts = Counter(run.verdict for run in runs)
    causes = [(rule, kind(run.result.fault)) for run in runs for rule in run.result.root_causes]
    right = sum(rule in fault.accepted for rule, fault in causes)
    related = sum(rule in fault.accepted or rule in fault.near for rule, fault in causes)
    shown, at_end = sum(bool(r.shown) for r in healthy), sum(bool(r.root_causes) for r in healthy)
    return [
        f"Faulty runs: {len(faulty)} of {len({r.fault for r in faulty})} kinds; {n} of them harmful"
        f" ({len({run.result.fault for run in runs})} kinds).",
        *(f"{word}: {share(counts[word], n)}." for word in _VERDICTS),
        f"Root causes of the harmful runs that name the cause: {share(right, len(causes))};"
        f" or are relevant: {share(related, len(causes))}.",
        f"Healthy runs disturbed: {share(at_end, len(healthy))} at the end,"
        f" {share(shown, len(healthy))} at any of ten checks.",
    ]


def table(results: Sequence[LoopResult]) -> str:
    """Return the verdicts by kind in Markdown, the totals above them."""
    runs = harmful_runs(results)
    rows = []
    for fault in ALL_KINDS:
        count = sum(result.fault == fault.name for result in results)
        kind_runs = [run for run in runs if run.result.fault == fault.name]
        if count:
            counts = Counter(run.verdict for run in kind_runs)
            cost = f"{statistics.median(run.harm for run in kind_runs):.2f}" if kind_runs else ""
            cells = [str(counts[word] or "") for word in _VERDICTS]
            rows.append((fault.name, fault.sentence, f"{len(kind_runs)} of {count}", cost, *cells, fault.source))
    return "\n\n".join([*sums(results), markdown(_HEAD, rows)])


def missed(results: Sequence[LoopResult]) -> list[str]:
    """Return the harmful runs whose cause was not named, a line each."""
    return [
        f"{run.result.key}: {run.verdict}: {', '.join(run.result.root_causes) or 'no finding'} (harm {run.harm:.2f};"
        f" accepted: {', '.join(kind(run.result.fault).accepted) or 'no rule'})"
        for run in harmful_runs(results)
        if run.verdict != "named"
    ]


def disturbed(results: Sequence[LoopResult]) -> list[str]:
    """Return the healthy runs with a severe finding or a warning at any time, a line each."""
    lines = []
    for result in results:
        if not result.fault and result.shown:
            step = next((step for step, rules in result.interim if rules), result.steps)
            moment = "at the end" if result.root_causes else f"after {step} of {result.steps} steps alone"
            lines.append(f"{result.key}: {', '.join(result.shown)} {moment}")
    return lines


def errors(results: Sequence[LoopResult]) -> list[str]:
    """Return the runs that an error stopped, a line each."""
    return [f"{result.key}: {result.error}" for result in results if result.error]


def accuracies(results: Sequence[LoopResult]) -> str:
    """Return the honest accuracy of the healthy runs by place and variant, in Markdown."""
    healthy = [result for result in results if not result.fault]
    variants = list(dict.fromkeys(result.variant for result in healthy))
    rows = []
    for place in dict.fromkeys(result.place for result in healthy):
        cells = []
        for variant in variants:
            values = [r.honest for r in healthy if (r.place, r.variant) == (place, variant)]
            cells.append(", ".join(f"{value:.2f}" for value in values))
        rows.append((" ".join(place), *cells))
    return markdown(("healthy scripts", *variants), rows)


def share(count: int, n: int) -> str:
    """Return a share with Wilson's 95 % interval."""
    if not n:
        return "none"
    low, high = wilson(count, n)
    return f"{count / n:.0%} ({count} of {n}, {100 * low:.0f} to {100 * high:.0f} %)"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
