"""repair: run again with what the debugger says would mend it, and keep the better one.

The run folder always holds the best attempt; the others lie whole in its `attempts/`, and repairs.json tells the story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.core.events import RunStatus
from clearsight.core.files import write_json
from clearsight.core.finding import Finding, Severity, read_findings
from clearsight.core.judge import root_findings
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.profiler.rules import PROFILER_RULES

_SHELF = "attempts"

Again = Callable[[Recipe], Run]


@dataclass(kw_only=True)
class Attempt:
    """One training: how it ended, what was found first, and what was changed because of it."""

    number: int
    status: str
    valid: Mapping[str, float] | None
    test: Mapping[str, float] | None
    rule: str = ""
    cause: str = ""
    fix: dict[str, Any] = field(default_factory=dict)
    kept: bool = False


def repair(first: Run, again: Again, *, most: int, monitor: str) -> Run:
    """Mend a finished run at most `most` times; returns the best attempt, which then lies where the first one did.

    again: trains anew in the same folder with another recipe.  monitor: the validation score that decides.
    """
    folder, run = first.path, first
    attempts, scores = [_attempt(1, run)], [_score(run, monitor)]
    tried: list[dict[str, Any]] = []
    while len(attempts) <= most and run.status is not RunStatus.INTERRUPTED:
        finding = _mendable(run, tried)
        if finding is None:
            break
        last = attempts[-1]
        last.rule, last.cause, last.fix = finding.rule, finding.cause, dict(finding.fix)
        tried.append(last.fix)
        recipe = run.recipe.replace(**finding.fix)
        _shelve(folder, len(attempts))
        run = again(recipe)
        attempts.append(_attempt(len(attempts) + 1, run))
        scores.append(_score(run, monitor))
    best = max(range(len(scores)), key=lambda number: (scores[number], number))
    if best + 1 != len(attempts):
        _swap(folder, len(attempts), best + 1)
    attempts[best].kept = True
    if len(attempts) > 1:
        write_json(folder / "repairs.json", [asdict(attempt) for attempt in attempts])
    return Run.open(folder)


def _mendable(run: Run, tried: list[dict[str, Any]]) -> Finding | None:
    """The most pressing root finding whose fix a recipe can make and that was not made before.

    What only costs time is no reason to train again.
    """
    slow = PROFILER_RULES.names()
    for finding in root_findings(read_findings(run.path / "findings.jsonl")):
        if finding.rule in slow or finding.severity is Severity.INFO or not finding.fix or dict(finding.fix) in tried:
            continue
        try:
            changed = run.recipe.replace(**finding.fix)
        except ClearsightError:
            continue
        if changed != run.recipe:
            return finding
    return None


def _attempt(number: int, run: Run) -> Attempt:
    return Attempt(number=number, status=run.status.value, valid=run.scores.get("valid"), test=run.scores.get("test"))


def _score(run: Run, monitor: str) -> float:
    """Of two attempts the better one has more of this; one without a usable model has the least."""
    valid = run.scores.get("valid") or {}
    if not run.has_bundle or not valid:
        return float("-inf")
    value = float(valid.get(monitor, valid["accuracy"]))
    return -value if monitor == "loss" else value


def _shelve(folder: Path, number: int) -> None:
    """Put the attempt that lies in the run folder aside."""
    shelf = folder / _SHELF / str(number)
    shelf.mkdir(parents=True)
    for entry in sorted(folder.iterdir(), key=lambda path: path.name != "run.json"):  # without it the folder is free
        if entry.name != _SHELF:
            entry.rename(shelf / entry.name)


def _swap(folder: Path, number: int, best: int) -> None:
    """Put the attempt that lies in the run folder aside and an earlier one back."""
    _shelve(folder, number)
    shelf = folder / _SHELF / str(best)
    for entry in sorted(shelf.iterdir(), key=lambda path: path.name == "run.json"):  # last: then the run is whole
        entry.rename(folder / entry.name)
    shelf.rmdir()
