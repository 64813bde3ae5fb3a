"""Refit: after the best epoch is chosen, a second training on training and validation images together.

It begins with the weights that the first training began with, follows the same schedule and ends after the epoch that
was the best. No image is left to validate it: scores and calibration stay those of the first training. Test images are
not touched. It has checkpoints and metrics of its own, so that an interrupted one continues where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clearsight.core.dataset import Dataset
from clearsight.core.events import EpochRecord, NullObserver, Observer, ObserverList, RunStatus
from clearsight.core.run import MetricsLog, Run
from clearsight.core.stop import StopKind
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import TrainingResult
from clearsight.training.loop import train as train_loop
from clearsight.training.protocols import NullStopwatch
from clearsight.training.stop import StopSignal
from clearsight.workflow.prepare.feature_batches import read_features
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.adjustments import AdjustedTraining
from clearsight.workflow.run.restore import rebuild_network


@dataclass(frozen=True, kw_only=True)
class Refit:
    """The second training of a run. setup: of the first one, with the settings that it ended with."""

    run: Run
    setup: RunSetup
    stop: StopSignal
    observers: Sequence[Observer]

    def train(self, first: TrainingResult) -> TrainingResult:
        """Train up to the best epoch of `first`, put the weights into the network, and note it in the run.

        Returns `first`; or the interruption of this training, after which the run can be resumed. A refit that cannot
        be done or does not end leaves the weights of the first training in the network, and the run says why.
        """
        if reason := self._reason_against(first):
            self.run.refit = {"epochs": 0, "images": 0, "reason": reason}
            return first
        assert first.best_epoch is not None
        setup = refit_setup(self.run, self.setup)
        result = self._train(setup, first.best_epoch)
        if result.status is RunStatus.INTERRUPTED:
            return replace(first, status=result.status, stop=result.stop)
        if result.status is RunStatus.COMPLETED:
            self.setup.network.model.load_state_dict(setup.network.model.state_dict())
            self.run.refit = {"epochs": first.best_epoch, "images": len(setup.train), "reason": ""}
        else:
            reason = result.stop.text if result.stop is not None else result.status.value
            self.run.refit = {"epochs": 0, "images": 0, "reason": reason}
        return first

    def _reason_against(self, first: TrainingResult) -> str:
        if not len(self.setup.valid):
            return "there are no validation images to add"
        if first.stop is not None and first.stop.kind is not StopKind.PATIENCE:
            return first.stop.text
        return ""

    def _train(self, setup: RunSetup, epochs: int) -> TrainingResult:
        checkpoints, phases = Checkpoints(self.run.files.refit_checkpoints), build_phases(setup)
        read_features(phases)
        observers: list[Observer] = []
        metrics = None
        if setup.world.leads:
            self.run.files.refit_checkpoints.mkdir(parents=True, exist_ok=True)
            metrics = MetricsLog(self.run.files.refit_metrics, last_step=checkpoints.last_step())
            observers = [metrics, _RefitEpochs(ObserverList(self.observers))]
        setup.world.wait()  # rank 0 has made the folder
        training = AdjustedTraining(self.run, setup, phases, checkpoints, self.stop, observers, None)
        try:
            with self.stop.listening():
                job = replace(training.job(observers), last_epoch=epochs)
                return train_loop(job, resume=checkpoints.newest.exists())
        finally:
            if metrics is not None:
                metrics.close()


class _RefitEpochs(NullObserver):
    """Passes the epochs of a refit on, marked as such. Its steps are no progress of the run's own steps."""

    def __init__(self, observers: ObserverList) -> None:
        self._observers = observers

    def on_epoch(self, record: EpochRecord) -> None:
        self._observers.on_epoch(replace(record, training="refit"))


def refit_setup(run: Run, setup: RunSetup) -> RunSetup:
    """Return the set-up of the second training: the initial weights, and validation images among those to train on."""
    names, placement, folder = setup.data.classes.names, setup.placement, run.files.refit_checkpoints
    network = rebuild_network(run, setup.recipe, names, setup.paths, folder).with_preprocess(setup.network.preprocess)
    network.model.to(placement.device)
    network.model.to(memory_format=placement.memory_format)
    return replace(setup, network=network, data=train_on_validation(setup.data), stopwatch=NullStopwatch())


def train_on_validation(data: Dataset) -> Dataset:
    """Return the dataset with its validation images in the training split."""
    changed: dict[str, Any] = {"split": "train"}
    samples = (replace(sample, **changed) if sample.split == "valid" else sample for sample in data.samples)
    return replace(data, samples=tuple(samples))
