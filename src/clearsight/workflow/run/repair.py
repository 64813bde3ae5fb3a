"""Repair of a run: train again with the fixes that the debugger proposes, and keep the better run.

The run folder always holds the best attempt; the others lie complete in its `attempts/`, and repairs.json records what
was changed from attempt to attempt.
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
from clearsight.core.run import Run, RunFolder
from clearsight.profiler.rules import PROFILER_RULES

TrainAgain = Callable[[Recipe], Run]


@dataclass(kw_only=True)
class Attempt:
    """One training: how it ended, the first finding, and what was changed because of it."""

    number: int
    status: str
    valid: Mapping[str, float] | None
    test: Mapping[str, float] | None
    rule: str = ""
    cause: str = ""
    fix: dict[str, Any] = field(default_factory=dict)
    kept: bool = False  # these names are keys of repairs.json


def repair(first: Run, train_again: TrainAgain, *, most: int, monitor: str) -> Run:
    """Repair a finished run at most `most` times; return the best attempt, which then lies in the first one's folder.

    train_again: trains in the same folder with another recipe.  monitor: the validation score that decides.
    """
    folder, run = first.path, first
    attempts, scores = [_attempt(1, run)], [_score(run, monitor)]
    tried: list[dict[str, Any]] = []
    while len(attempts) <= most and run.status is not RunStatus.INTERRUPTED:  # after Ctrl-C nothing more is trained
        finding = _repairable(run, tried)
        if finding is None:
            break
        last = attempts[-1]
        last.rule, last.cause, last.fix = finding.rule, finding.cause, dict(finding.fix)
        tried.append(last.fix)
        recipe = run.recipe.replace(**finding.fix)
        _set_aside(folder, len(attempts))
        run = train_again(recipe)
        attempts.append(_attempt(len(attempts) + 1, run))
        scores.append(_score(run, monitor))
    # Of equal attempts the last one is kept: nothing need be moved, and its findings were answered.
    best = max(range(len(scores)), key=lambda number: (scores[number], number))
    if best + 1 != len(attempts):
        _swap(folder, len(attempts), best + 1)
    attempts[best].kept = True
    if len(attempts) > 1:
        write_json(RunFolder(folder).repairs, [asdict(attempt) for attempt in attempts])
    return Run.open(folder)


def _repairable(run: Run, tried: list[dict[str, Any]]) -> Finding | None:
    """Return the most urgent root finding with a fix that changes the recipe and was not tried before.

    A finding about speed is no reason to train again: the result would be the same.
    """
    about_speed = PROFILER_RULES.names()
    for finding in root_findings(read_findings(run.files.findings)):
        usable = finding.severity is not Severity.INFO and finding.fix and dict(finding.fix) not in tried
        if finding.rule in about_speed or not usable:
            continue
        try:
            changed = run.recipe.replace(**finding.fix)
        except ClearsightError:  # a rule of the user's own may propose a value out of range
            continue
        if changed != run.recipe:
            return finding
    return None


def _attempt(number: int, run: Run) -> Attempt:
    return Attempt(number=number, status=run.status.value, valid=run.scores.get("valid"), test=run.scores.get("test"))


def _score(run: Run, monitor: str) -> float:
    """Return what the better of two attempts has more of; minus infinity without a usable model."""
    valid = run.scores.get("valid") or {}
    if not run.has_bundle or not valid:
        return float("-inf")
    value = float(valid.get(monitor, valid["accuracy"]))
    return -value if monitor == "loss" else value


def _set_aside(folder: Path, number: int) -> None:
    """Move the attempt in the run folder to attempts/<number>."""
    files = RunFolder(folder)
    target = files.attempts / str(number)
    target.mkdir(parents=True)
    # run.json first: without it the folder counts as free, so a kill in between leaves no half of a run behind.
    for entry in sorted(folder.iterdir(), key=lambda path: path != files.state):
        if entry not in (files.attempts, files.lock):  # the lock belongs to the folder, not to the attempt
            entry.rename(target / entry.name)


def _swap(folder: Path, number: int, best: int) -> None:
    """Set the attempt in the run folder aside and move an earlier one back."""
    _set_aside(folder, number)
    source = RunFolder(folder).attempts / str(best)
    # run.json last: once it is there, the run is complete.
    for entry in sorted(source.iterdir(), key=lambda path: path == RunFolder(source).state):
        entry.rename(folder / entry.name)
    source.rmdir()
