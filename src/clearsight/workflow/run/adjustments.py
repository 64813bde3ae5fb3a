"""The course of a run: from the first step to the last, with what the debugger adjusts on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearsight.core.events import Observer
from clearsight.core.files import write_text
from clearsight.core.metrics_log import MetricsLog
from clearsight.core.run import Run
from clearsight.debugger.live import LiveDebugger
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import Phase, TrainingJob, TrainingResult
from clearsight.training.loop import Training
from clearsight.training.loop import train as train_loop
from clearsight.training.loss import balanced_weights
from clearsight.training.protocols import NullModelWatcher
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.setup import RunSetup

_ADJUSTMENTS = 3  # in one run; what three changes did not mend, a fourth will not


@dataclass
class AdjustedTraining:
    """One run under way. `setting` is that of the part which ran last."""

    of: Run
    setting: RunSetup
    phases: Sequence[Phase]
    checkpoints: Checkpoints
    stop: StopSignal
    onlookers: Sequence[Observer]
    watch: LiveDebugger | None

    def train(self) -> TrainingResult:
        """Train from the newest checkpoint, or from the start, to the end or to what stops it."""
        if self.watch is not None and any(action.verb == "adjust" for action in self.watch.actions):
            self._remember_the_start()
        outcome = self._stretch(resume=self.checkpoints.newest.exists())
        for _ in range(_ADJUSTMENTS):
            if self.watch is None or self.watch.wish is None or self.watch.wish.verb != "adjust":
                break
            self._adjust(self.watch)
            outcome = self._stretch(resume=True)
        return outcome

    def _stretch(self, *, resume: bool) -> TrainingResult:
        """Train until the end or until something is to be changed."""
        if not self.setting.world.leads:
            return train_loop(self.job([]), resume=resume)
        writer = MetricsLog(self.of.path / "metrics.jsonl", last_step=self.checkpoints.last_step())
        observers: list[Observer] = [writer, *self.onlookers, *([self.watch] if self.watch is not None else [])]
        try:
            return train_loop(self.job(observers), resume=resume)
        finally:
            writer.close()

    def _remember_the_start(self) -> None:
        if not self.checkpoints.newest.exists():
            Training(self.job([])).save()
        self.checkpoints.keep_good()

    def _adjust(self, watch: LiveDebugger) -> None:
        """Back to the last checkpoint at which nothing was wrong, and on from there with the changes."""
        assert watch.wish is not None
        self.checkpoints.back_to_good()
        self.setting = replace(self.setting, recipe=self.setting.recipe.replace(**watch.wish.changes))
        self.of.recipe = self.setting.recipe
        write_text(self.of.path / "recipe.yaml", self.setting.recipe.to_yaml())
        watch.go_back(self.checkpoints.last_step(), self.setting.recipe.flat())
        self.stop.go_on()

    def job(self, observers: Sequence[Observer]) -> TrainingJob:
        """What the loop is given, with these observers."""
        setting, weights = self.setting, None
        if setting.recipe.train.class_weights == "balanced":
            weights = balanced_weights(setting.train.labels(), len(setting.data.classes))
        return TrainingJob(
            network=setting.network.model,
            phases=self.phases,
            recipe=setting.recipe,
            checkpoints=self.checkpoints,
            observers=observers,
            stop=self.stop,
            world=setting.world,
            device=setting.placement.device,
            precision=setting.placement.precision,
            class_weights=weights,
            watcher=self.watch or NullModelWatcher(),
            stopwatch=setting.stopwatch,
        )
