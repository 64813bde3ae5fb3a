"""Training of a trial by itself: a run like any other, which ends without a model until it is the best of its study."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from clearsight.core.events import EpochRecord, NullObserver, RunPlan, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run, RunFolder
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.trial import SCORES, TrialResult, TrialState
from clearsight.tuning.storage.trial_folder import TrialFolder
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run
from clearsight.workflow.run.rules import code_of_recipe
from clearsight.workflow.study.reporter import TrialReporter, interruption, stop_after_epoch

_STOP_ON_SEVERE = "severe=stop-trial"  # action of the debugger: a severe finding ends the trial


def run_trial(
    folder: TrialFolder, recipe: Recipe, source: Path, metrics: Sequence[str], paths: Paths, reporter: TrialReporter
) -> TrialResult | None:
    """Train a trial in its folder, from its newest checkpoint if there is one; None if it was interrupted.

    folder: named by the number of the trial.  source: the dataset.  metrics: of the objectives.
    """
    started = time.time()  # the wall clock: it is shown as a date
    observer = _TrialObserver(int(folder.path.name), reporter)
    launch = LaunchContext(
        paths=paths,
        observers=[observer],
        halt=observer.halt,
        ending="record",
        trusted=code_of_recipe(recipe),  # what the study sends, not what stands in the folder
    )
    if RunFolder(folder.run).is_run:
        run = resume_run(folder.run, launch)
    else:
        # An action that the user has chosen decides alone.
        if recipe.debug.debug != "off" and not recipe.debug.on_finding:
            recipe = recipe.replace(on_finding=(_STOP_ON_SEVERE,))
        run = launch_run(source, folder.run, recipe, launch)
    return _trial_result(run, metrics, observer, started)


class _TrialObserver(NullObserver):
    """Reports every epoch to the study, and stops the run when the study says so."""

    def __init__(self, number: int, reporter: TrialReporter) -> None:
        self.number, self.parameters = number, 0
        self.stop: StopReason | None = None  # why the trial ended, apart from interruptions
        self._reporter, self._classes = reporter, 0

    def halt(self) -> StopReason | None:
        return self.stop or interruption(self._reporter)

    def on_plan(self, plan: RunPlan) -> None:
        self.parameters, self._classes = plan.parameters, plan.classes

    def on_epoch(self, record: EpochRecord) -> None:
        self.stop = stop_after_epoch(self._reporter, self.number, record, self._classes)


def _trial_result(run: Run, metrics: Sequence[str], observer: _TrialObserver, started: float) -> TrialResult | None:
    """Return the result of a trial from its run; None if it was interrupted."""
    epochs = run.epochs()
    state, stop = _trial_end(run, observer.stop)
    if state is None:
        return None
    valid: Mapping[str, float] = run.scores.get("valid") or {}
    facts = {
        **{name: valid.get(name, float("nan")) for name in SCORES},
        "seconds": sum(epoch["seconds"] for epoch in epochs),
        "parameters": float(observer.parameters),
        "images_per_second": run.images_per_second or float("nan"),
    }
    return TrialResult(
        number=observer.number,
        state=state,
        values=tuple(facts[metric] for metric in metrics) if state is TrialState.COMPLETE else (),
        reason=stop.text if stop is not None else "",
        stop_kind=stop.kind if stop is not None else None,
        curve={epoch["epoch"]: epoch["valid"] for epoch in epochs},
        scores=valid,
        best_epoch=run.best_epoch,
        started=started,
        seconds=run.seconds,
        saved_seconds=run.saved_seconds,
    )


def _trial_end(run: Run, stop: StopReason | None) -> tuple[TrialState | None, StopReason | None]:
    """Return state and reason of a trial; the state is None for an interrupted one."""
    if run.status is RunStatus.INTERRUPTED:
        # The study ends a trial through `halt`, which leaves the run interrupted: its own reason tells the difference.
        return (TrialState.PRUNED, stop) if stop is not None else (None, run.stop)
    if run.status is RunStatus.DIVERGED or run.stop_kind is StopKind.FINDING:
        return TrialState.PRUNED, run.stop
    if run.status in (RunStatus.COMPLETED, RunStatus.STOPPED_EARLY):
        return TrialState.COMPLETE, None
    return TrialState.FAILED, run.stop
