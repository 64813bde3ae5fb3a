"""A trial that trains alone: a run like any other, but for what becomes of it in the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearsight.core.recipe import Recipe
from clearsight.core.run import EpochRecord, RunPlan, Run, RunStatus, NullObserver
from clearsight.core.trial import SCORES, TrialResult, TrialState
from clearsight.training.stop import FINDING
from clearsight.workflow.circumstances import LaunchContext
from clearsight.workflow.fit import fit, resume
from clearsight.workflow.hopeless import chance_level_reason
from clearsight.workflow.places import Paths
from clearsight.workflow.talk import TrialReporter

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
