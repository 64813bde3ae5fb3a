"""A trial that trains alone: a run like any other, but for what becomes of it in the end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.trial import SCORES, TrialResult, TrialState
from clearsight.training.stop import FINDING
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.study.reporter import TrialReporter
from clearsight.workflow.train import fit, resume

_HOPELESS = "severe=stop-trial"  # what the debugger does about a finding that leaves nothing to hope for


def carry_out_run(
    folder: Path, recipe: Recipe, source: Path, metrics: Sequence[str], places: Paths, talk: TrialReporter
) -> TrialResult | None:
    """Train a trial in its folder, from its newest checkpoint where there is one; None where it was interrupted."""
    path, began = folder / "run", time.time()
    onlooker = _Onlooker(int(folder.name), talk)
    around = LaunchContext(places=places, observers=[onlooker], halt=onlooker.halt, ending="put by")
    if (path / "run.json").is_file():
        run = resume(path, around=around)
    else:
        if recipe.debug.debug != "off" and not recipe.debug.on_finding:
            recipe = recipe.replace(on_finding=(_HOPELESS,))
        run = fit(source, out=path, recipe=recipe, around=around)
    return outcome_of(run, metrics, onlooker, began)


def outcome_of(run: Run, metrics: Sequence[str], onlooker: _Onlooker, began: float) -> TrialResult | None:
    """What a training came to, as the outcome of trial `onlooker.number`."""
    epochs = run.epochs()
    state, reason = _judged(run, onlooker.pruned)
    if state is None:
        return None
    valid: Mapping[str, float] = run.scores.get("valid") or {}
    facts = {
        **{name: valid.get(name, float("nan")) for name in SCORES},
        "seconds": sum(epoch["seconds"] for epoch in epochs),
        "parameters": float(onlooker.parameters),
        "images_per_second": run.images_per_second or float("nan"),
    }
    return TrialResult(
        number=onlooker.number,
        state=state,
        values=tuple(facts[metric] for metric in metrics) if state is TrialState.COMPLETE else (),
        reason=reason,
        curve={epoch["epoch"]: epoch["valid"] for epoch in epochs},
        scores=valid,
        best_epoch=run.best_epoch,
        started=began,
        seconds=run.seconds,
        spared_seconds=run.spared_seconds,
    )


def _judged(run: Run, pruned: str) -> tuple[TrialState | None, str]:
    """State and reason of a trial; None for one that is only interrupted."""
    if run.status is RunStatus.INTERRUPTED:
        return (TrialState.PRUNED, pruned) if pruned else (None, run.reason)
    if run.status is RunStatus.DIVERGED or run.reason.startswith(FINDING):
        return TrialState.PRUNED, run.reason
    if run.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY):
        return TrialState.COMPLETE, ""
    return TrialState.FAILED, run.reason


class _Onlooker(NullObserver):
    """Tells the study of every epoch, and the run of what the study thinks of it."""

    def __init__(self, number: int, talk: TrialReporter) -> None:
        self.number, self.pruned, self.parameters = number, "", 0
        self._talk, self._classes = talk, 0

    def halt(self) -> str:
        """Why the run is to stop now, or ""."""
        return self.pruned or self._talk.interrupted()

    def on_plan(self, plan: RunPlan) -> None:
        self.parameters, self._classes = plan.parameters, plan.classes

    def on_epoch(self, record: EpochRecord) -> None:
        told = self._talk.epoch(self.number, record.epoch, record.valid)
        self.pruned = told or chance_level_reason(record, self._classes)


_SHARE = 1 / 3  # of the planned epochs, after which a network that learns at all has begun to
_LEAST = 3  # epochs before anything is said
_NEAR = 0.02  # of the loss of guessing
_CHANCE = 1.2  # times the accuracy of guessing
_RANKED = 0.6  # area under the ROC curve above which two classes are told apart, whatever the threshold makes of it


def chance_level_reason(record: EpochRecord, classes: int) -> str:
    """Why a trial is given up after an epoch, or "".

    Who guesses evenly among C classes has the cross-entropy log C and gets one in C right. A third into its training, a
    trial that still has both on its training images is not worth the rest. (The loss alone would not do: a rate that
    is far too low leaves it there while the classes are told apart already, and of two classes a network may even call
    all images the same and yet rank them well. A loss far above is no guess either: the rate is high, and it will
    fall.) Stopping trials by what a debugger sees, not by their objective alone, is the idea of "BTTackler: A
    Diagnosis-based Framework for Efficient Deep Learning Hyperparameter Optimization" (KDD 2024).
    """
    classes = max(classes, 2)
    loss, guessing = record.train.get("loss", 0.0), math.log(classes)
    right = record.train.get("accuracy", 1.0)
    if record.epoch >= record.epochs:
        return ""  # there is no rest
    if record.epoch < max(_LEAST, math.ceil(_SHARE * record.epochs)):
        return ""
    if abs(loss / guessing - 1) > _NEAR or right > _CHANCE / classes or record.valid.get("roc_auc", 0.0) > _RANKED:
        return ""
    told = f"after {record.epoch} of {record.epochs} epochs it guesses: training loss {loss:.3f}, accuracy {right:.3f}"
    return f"{told}, where log {classes} is {guessing:.3f}"
