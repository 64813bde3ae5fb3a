"""AdjustedTraining: a training with the changes that the debugger makes to its settings on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearsight.core.events import Observer
from clearsight.core.run import MetricsLog, Run
from clearsight.debugger.actions import RequestedChange
from clearsight.debugger.live import LiveDebugger
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import Phase, TrainingJob, TrainingResult
from clearsight.training.loop import train as train_loop
from clearsight.training.loop import write_checkpoint
from clearsight.training.loss import balanced_weights
from clearsight.training.protocols import NullModelWatcher
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.setup import RunSetup

_ADJUSTMENTS = 3  # of one run: a cause that three changes did not remove is not a matter of settings


@dataclass
class AdjustedTraining:
    """Training of one run. `setup` is the one of the part that ran last."""

    run: Run
    setup: RunSetup
    phases: Sequence[Phase]
    checkpoints: Checkpoints
    stop: StopSignal
    observers: Sequence[Observer]
    debugger: LiveDebugger | None

    def train(self) -> TrainingResult:
        """Train from the newest checkpoint, or from the start, to the end or to what stops it."""
        # Only with "adjust": going back may need a checkpoint before the first epoch.
        if self.debugger is not None and any(action.verb == "adjust" for action in self.debugger.actions.actions):
            if not self.checkpoints.newest.exists():
                write_checkpoint(self.job([]))
            self.checkpoints.keep_good()
        result = self._train_part(resume=self.checkpoints.newest.exists())
        for _ in range(_ADJUSTMENTS):
            request = self.debugger.actions.request if self.debugger is not None else None
            if self.debugger is None or request is None or request.verb != "adjust":
                break
            self._adjust(self.debugger, request)
            result = self._train_part(resume=True)
        return result

    def _train_part(self, *, resume: bool) -> TrainingResult:
        """Train until the end or until settings are to be changed."""
        if not self.setup.world.leads:
            return train_loop(self.job([]), resume=resume)  # no observers: rank 0 reports for all
        # Anew: drops the steps that are trained again.
        writer = MetricsLog(self.run.files.metrics(), last_step=self.checkpoints.last_step())
        # The file first: others read it.
        observers: list[Observer] = [writer, *self.observers, *([self.debugger] if self.debugger is not None else [])]
        try:
            return train_loop(self.job(observers), resume=resume)
        finally:
            writer.close()

    def _adjust(self, debugger: LiveDebugger, request: RequestedChange) -> None:
        """Go back to the last checkpoint without a finding, with the changed settings."""
        self.checkpoints.back_to_good()  # the weights from before the finding
        self.setup = replace(self.setup, recipe=self.setup.recipe.replace(**request.changes))
        self.run.recipe = self.setup.recipe
        self.setup.recipe.write(self.run.files.recipe, self.run.weights_comment())
        debugger.go_back(self.checkpoints.last_step(), self.setup.recipe.flat())
        self.stop.resume()  # the debugger had asked for the stop

    def job(self, observers: Sequence[Observer]) -> TrainingJob:
        setup, weights = self.setup, None
        if setup.recipe.train.class_weights == "balanced":
            weights = balanced_weights(setup.train.labels(), len(setup.data.classes))
        return TrainingJob(
            network=setup.network.model,
            phases=self.phases,
            recipe=setup.recipe,
            checkpoints=self.checkpoints,
            observers=observers,
            stop=self.stop,
            world=setup.world,
            device=setup.placement.device,
            precision=setup.placement.precision,
            class_weights=weights,
            watcher=self.debugger or NullModelWatcher(),
            stopwatch=setup.stopwatch,
        )
