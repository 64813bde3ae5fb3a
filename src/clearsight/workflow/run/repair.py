"""Repair of a run: train again with the fixes that the debugger proposes, and keep the better run.

Candidates are the fixes of the root causes, and the usual settings whatever the cause: those repair a cause without a
fix too, and after a wrong diagnosis. Several candidates are compared by short trainings; the best is trained whole.
A run that has learned little although nothing was found is trained again with the usual settings.
The run folder always holds the best attempt; the others lie complete in its `attempts/`, and repairs.json records what
was changed from attempt to attempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.errors import ClearsightError
from clearsight.core.events import RunStatus
from clearsight.core.files import write_json
from clearsight.core.finding import Severity, read_findings
from clearsight.core.judge import root_findings
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunFolder
from clearsight.profiler.rules import PROFILER_RULES

TrainAgain = Callable[[Recipe], Run]
Compare = Callable[[Recipe], float | None]

USUAL = "usual settings"  # stands for a rule where the candidate is no rule's fix
# Settings that decide how a network is trained on the images that it has. Others are asked for by those who set them:
# the network, its frozen part, the length of the training, the size of the images.
_OF_TRAINING = (
    *("optimizer", "lr", "head_lr", "momentum", "eps", "weight_decay", "schedule", "warmup", "step_size", "gamma"),
    *("clip_grad", "accumulate", "backbone_lr_factor", "batch_size", "label_smoothing", "mixup", "cutmix", "ema"),
    *("augment", "mean", "std", "interpolation", "dropout"),
)
_SHORT = 10  # part of the epochs of a short training: 1 in so many
_LITTLE = 0.7  # of the loss of a guess by chance, above which little was learned
_FEW = 4  # epochs below which a short training takes too large a part of a whole one


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
    kept: bool = False
    # By the fixes, as text: scores of short trainings, where several candidates were compared.
    compared: dict[str, float | None] = field(default_factory=dict)  # these names are keys of repairs.json


@dataclass(frozen=True, kw_only=True)
class RepairCandidate:
    """Changes of a recipe that may repair it: the fix of a rule's finding, or the usual settings."""

    rule: str
    cause: str
    fix: dict[str, Any]
    recipe: Recipe


def repair(first: Run, train_again: TrainAgain, *, most: int, monitor: str, compare: Compare | None = None) -> Run:
    """Repair a finished run at most `most` times; return the best attempt, which then lies in the first one's folder.

    train_again: trains in the same folder with another recipe.  monitor: the validation score that decides.  compare:
    returns the score of a short training elsewhere, more is better, None for an interrupted one, which ends the
    repair; without it the first candidate is trained.
    """
    folder, run = first.path, first
    attempts, scores = [_attempt(1, run)], [_score(run, monitor)]
    tried = [first.recipe]
    while len(attempts) <= most and run.status is not RunStatus.INTERRUPTED:  # after Ctrl-C nothing more is trained
        candidates, last = _candidates(run, tried), attempts[-1]
        chosen = _choose(candidates, compare, last) if candidates else _usual_after_little(run, tried)
        if chosen is None:
            break
        last.rule, last.cause, last.fix = chosen.rule, chosen.cause, chosen.fix
        tried.append(chosen.recipe)
        recipe = chosen.recipe
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


def _candidates(run: Run, tried: list[Recipe]) -> list[RepairCandidate]:
    """Return what may repair a run with findings, most urgent first: recipes that were not tried before.

    A finding about speed is no reason to train again: the result would be the same.
    """
    about_speed = PROFILER_RULES.names()
    roots = [
        finding
        for finding in root_findings(read_findings(run.files.findings))
        if finding.severity is not Severity.INFO and finding.rule not in about_speed
    ]
    if not roots:
        return []
    fixes = [(finding.rule, finding.cause, dict(finding.fix)) for finding in roots if finding.fix]
    return _untried(run, [*fixes, (USUAL, roots[0].cause, usual_settings(run.recipe))], tried)


def _untried(
    run: Run, changes: Iterable[tuple[str, str, dict[str, Any]]], tried: Sequence[Recipe]
) -> list[RepairCandidate]:
    """Return a candidate for each recipe that was not tried before. changes: rule, cause and fix."""
    found: list[RepairCandidate] = []
    for rule, cause, fix in changes:
        try:
            recipe = run.recipe.replace(**fix)
        except ClearsightError:  # a rule of the user's own may propose a value out of range
            continue
        if recipe not in tried and recipe not in [candidate.recipe for candidate in found]:
            found.append(RepairCandidate(rule=rule, cause=cause, fix=fix, recipe=recipe))
    return found


def _usual_after_little(run: Run, tried: Sequence[Recipe]) -> RepairCandidate | None:
    """Return the usual settings for a run that has learned little although nothing was found."""
    valid, classes = run.scores.get("valid") or {}, len(run.data.get("classes") or ())
    loss = float(valid.get("loss", 0.0))
    if classes < 2 or not loss > _LITTLE * math.log(classes):  # of a loss that is not a number too little is known
        return None
    cause = (
        f"nothing was found, but the validation loss of {loss:.2f} is hardly below {math.log(classes):.2f}, by chance"
    )
    candidates = _untried(run, [(USUAL, cause, usual_settings(run.recipe))], tried)
    return candidates[0] if candidates else None


def usual_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of the training that differ from their defaults, each with its default."""
    given, default = recipe.flat(), Recipe()
    usual = default.flat()
    # A run's recipe has the values that unset settings came to.
    resolved = usual | {"augment": default.data.resolved_augment, "schedule": default.optim.resolved_schedule}
    return {name: usual[name] for name in _OF_TRAINING if given[name] not in (usual[name], resolved[name])}


def _choose(candidates: list[RepairCandidate], compare: Compare | None, attempt: Attempt) -> RepairCandidate | None:
    """Return the candidate with the best short training, the first of equal ones; None after an interruption."""
    if compare is None or len(candidates) == 1:
        return candidates[0]
    scores = []
    for candidate in candidates:
        score = compare(candidate.recipe)
        if score is None:
            return None
        scores.append(score)
        attempt.compared[f"{candidate.rule}: {candidate.fix}"] = score if math.isfinite(score) else None
    return candidates[scores.index(max(scores))]


def short_recipe(recipe: Recipe) -> Recipe | None:
    """Return the recipe of a short training, a tenth of the epochs; None where that is too large a part."""
    epochs = recipe.train.resolved_epochs
    if epochs < _FEW:
        return None
    few = max(1, round(epochs / _SHORT))
    head = recipe.train.head_epochs
    return recipe.replace(
        epochs=few, head_epochs=None if head is None else min(head, few - 1), rules="none", repair=0, on_finding=()
    )


def _attempt(number: int, run: Run) -> Attempt:
    return Attempt(number=number, status=run.status.value, valid=run.scores.get("valid"), test=run.scores.get("test"))


def _score(run: Run, monitor: str) -> float:
    """Return what the better of two attempts has more of; minus infinity without a usable model."""
    return valid_score(run, monitor) if run.has_bundle else float("-inf")


def valid_score(run: Run, monitor: str) -> float:
    """Return the validation score of a run, negative where less is better; minus infinity without one."""
    valid = run.scores.get("valid") or {}
    if not valid:
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
