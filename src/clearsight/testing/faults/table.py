"""Table of the benchmark: how often each fault is found, and how often a healthy run gets a false alarm."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clearsight.core.statistics import wilson
from clearsight.testing.faults.benchmark import Result
from clearsight.testing.faults.catalogue import FAULTS
from clearsight.testing.faults.setup import Fault

_HEAD = ("fault", "harm", "n", "found", "first", "precision", "step", "of", "repaired", "regained")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of a fault over its runs."""

    name: str
    n: int  # runs
    harm: float  # median cost
    found: int  # runs with an expected rule among the first two root causes at the end
    first: int  # runs where it is the first
    expected: int  # root causes that are expected ones
    named: int  # root causes in all
    step: float | None  # median of the training steps until it was found, of the runs where it was
    steps: float  # of a whole run
    repaired: tuple[int, int]  # (runs that regained at least nine tenths, runs with something to regain)
    regained: float | None  # median share of the harm


def row(fault: Fault, results: Sequence[Result]) -> Row:
    """Return the figures of a fault; `results` are its runs, at least one."""
    steps = [step for step in (result.diagnosis.step(fault.expected) for result in results) if step is not None]
    tried = [result for result in results if result.regained is not None]
    return Row(
        name=fault.name,
        n=len(results),
        harm=statistics.median(result.harm or 0.0 for result in results),
        found=sum(result.diagnosis.named(fault.expected) for result in results),
        first=sum(result.diagnosis.named(fault.expected, top=1) for result in results),
        expected=sum(rule in fault.expected for result in results for rule in result.root_causes),
        named=sum(len(result.root_causes) for result in results),
        step=statistics.median(steps) if steps else None,
        steps=statistics.median(result.steps for result in results),
        repaired=(sum(result.repaired for result in tried), len(tried)),
        regained=statistics.median(result.regained or 0.0 for result in tried) if tried else None,
    )


def rows(results: Sequence[Result]) -> list[Row]:
    """Return a row per fault that was run, in the order of the catalogue."""
    by_fault = {fault.name: [result for result in results if result.name == fault.name] for fault in FAULTS}
    return [row(fault, by_fault[fault.name]) for fault in FAULTS if by_fault[fault.name]]


def alarms(results: Sequence[Result]) -> tuple[int, int, int]:
    """Return (healthy runs with a severe or warning root cause at the end, with one at any time, healthy runs)."""
    healthy = [result for result in results if not result.faulty]
    ever = sum(bool(_alarm(result)) for result in healthy)
    return sum(bool(result.root_causes) for result in healthy), ever, len(healthy)


def table(results: Sequence[Result]) -> str:
    """Return the table in Markdown, the sums below it."""
    table_rows = rows(results)
    bad, ever, healthy = alarms(results)
    alarm = f"Healthy runs disturbed: {_share(bad, healthy)} at the end, {_share(ever, healthy)} at any of ten checks."
    return "\n".join([_markdown(_HEAD, map(_cells, table_rows)), "", *_sums(table_rows), alarm])


def disturbed(results: Sequence[Result]) -> list[str]:
    """Return the healthy runs with a false alarm, a line each."""
    return [f"{result.key}: {_alarm(result)}" for result in results if not result.faulty and _alarm(result)]


def missed(results: Sequence[Result]) -> list[str]:
    """Return the faulty runs whose cause was not named, a line each, with the root causes that were."""
    known = {fault.name: fault.expected for fault in FAULTS}
    return [
        f"{result.key}: {', '.join(result.root_causes) or 'nothing'} (harm {result.harm or 0:.2f})"
        for result in results
        if result.faulty and not result.diagnosis.named(known[result.name])
    ]


def accuracies(results: Sequence[Result]) -> str:
    """Return validation accuracies per network and dataset, in Markdown: the healthy recipe, then its faults."""
    pairs = list(dict.fromkeys(result.pair for result in results))
    by_run: dict[tuple[str, tuple[str, str]], list[float]] = {}
    for result in results:
        by_run.setdefault((result.name, result.pair), []).append(result.accuracy)
    means = {run: f"{statistics.mean(values):.2f}" for run, values in by_run.items()}
    names = dict.fromkeys(result.name for result in results)
    rows = ((name, *(means.get((name, pair), "") for pair in pairs)) for name in names)
    return _markdown(("run", *map("<br>".join, pairs)), rows)


def planted() -> str:
    """Return the faults, their descriptions and the rules that name them, in Markdown."""
    rows = ((fault.name, fault.description, ", ".join(fault.expected)) for fault in FAULTS)
    return _markdown(("fault", "what is wrong", "named by"), rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _alarm(result: Result) -> str:
    """Return the root causes at the end, else the first ones during the run, "" for none."""
    during = (
        f"only during the run: {', '.join(rules)} after {step} of {result.steps} steps"
        for step, rules in result.interim
        if rules
    )
    return ", ".join(result.root_causes) or next(during, "")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.harm:.2f}",
        str(row.n),
        _share(row.found, row.n),
        f"{row.first / row.n:.0%}",
        f"{row.expected / row.named:.0%}" if row.named else "",
        "" if row.step is None else f"{row.step:.0f}",
        f"{row.steps:.0f}",
        f"{row.repaired[0]} of {row.repaired[1]}" if row.repaired[1] else "",
        "" if row.regained is None else f"{row.regained:.0%}",
    )


def _sums(table_rows: Sequence[Row]) -> list[str]:
    if not table_rows:
        return []
    n, named = sum(row.n for row in table_rows), sum(row.named for row in table_rows)
    first = sum(row.first for row in table_rows)
    lines = [
        f"All faulty runs: found {_share(sum(row.found for row in table_rows), n)}, first {_share(first, n)},"
        f" precision {_share(sum(row.expected for row in table_rows), named)} of the root causes named."
    ]
    fixed, tried = (sum(row.repaired[i] for row in table_rows) for i in (0, 1))
    if tried:
        lines.append(f"Repairs: {_share(fixed, tried)} of the runs with something to regain.")
    return [line for sentence in lines for line in (sentence, "")]


def _share(count: int, n: int) -> str:
    """Return a share with Wilson's interval: "92% (12 of 13, 67 to 99%)"."""
    if not n:
        return "none"
    low, high = wilson(count, n)
    return f"{count / n:.0%} ({count} of {n}, {100 * low:.0f} to {100 * high:.0f}%)"
