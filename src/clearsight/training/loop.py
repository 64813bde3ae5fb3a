"""The training loop. It takes a model, batches and observers; it knows no reader, no rule and no zoo.

Resuming is exact: a step depends only on the recipe, the weights before it and the pair (rank, step) (`training.step`),
and the order of the images only on the epoch. So a checkpoint needs nothing but the weights, the optimizer's moments
and a position.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from clearsight.core.events import EpochRecord, ObserverList, RunStatus, StepRecord
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.batches import Batch
from clearsight.training.checkpoint import CheckpointWriter, load_into, under
from clearsight.training.job import Phase, TrainingJob, TrainingPosition, TrainingResult
from clearsight.training.optim import rate
from clearsight.training.paired_gain import paired_gain
from clearsight.training.scoring import validate
from clearsight.training.step import PendingSteps, TrainingStep, trained_tensors

_EPOCH_CHECKPOINT_SECONDS = 10.0  # epochs shorter than this share a checkpoint: writing must not outweigh training
_REFERENCE = "selection/reference"  # tensor of a checkpoint: EpochSelection.reference
_STATUSES = {  # any other reason leaves the run interrupted: it can be resumed
    StopKind.DIVERGED: RunStatus.DIVERGED,
    StopKind.TIME_LIMIT: RunStatus.STOPPED_EARLY,
    StopKind.FINDING: RunStatus.STOPPED_EARLY,
    StopKind.PATIENCE: RunStatus.STOPPED_EARLY,
}


def train(job: TrainingJob, *, resume: bool = False) -> TrainingResult:
    """Run the job to its end, from its newest checkpoint when `resume`.

    The network then holds the weights of the best epoch (of the last one without a validation split), unless no epoch
    was finished. Raises NotResumable when there is no usable checkpoint; errors of vital observers pass through.
    """
    training = Training(job)
    if resume:
        training.resume()
    result = training.run()
    # From disk: its copy in memory is dropped when it is written.
    if job.checkpoints.best.exists() and result.best_epoch:
        load_into(job.network, job.checkpoints.read(job.checkpoints.best)[0])
    return result


def write_checkpoint(
    job: TrainingJob, position: TrainingPosition | None = None, best: Mapping[str, Tensor] | None = None
) -> None:
    """Write the checkpoints that a training of the job has at `position` (None: before its first step).

    The network must hold the weights of that position. best: the trained tensors of the best epoch, if there is one.
    """
    training = Training(job)
    training.position = position or training.position
    training.writer.best = None if best is None else dict(best)
    training.save()


class Training:
    """One training, from phase to phase and epoch to epoch."""

    def __init__(self, job: TrainingJob) -> None:
        self.job, self.position = job, TrainingPosition()
        trained = trained_tensors(job)
        self._step = TrainingStep(job, trained)
        self.writer = CheckpointWriter(job.checkpoints, trained, job.world)
        self._observers = ObserverList(job.observers)
        self._pending = PendingSteps(job.device, self._observers)
        self._moments: dict[str, Tensor] = {}  # of the optimizer of a resumed phase
        self._images, self._seconds = 0, 0.0  # in training epochs, for the speed of the whole training

    def resume(self) -> None:
        """Continue from the newest checkpoint; raises NotResumable when there is no usable one."""
        tensors, state = self.writer.read_newest()
        self.position = TrainingPosition.from_json(state["position"])
        if (reference := tensors.get(_REFERENCE)) is not None:
            self.position.selection.reference = reference.numpy()
        self._step.load_state(tensors, state)
        self._moments = under(tensors, "optimizer/")

    def run(self) -> TrainingResult:
        """Train to the end, to a stop, or to a loss that is not finite."""
        selection, last, reason_against = self.position.selection, 0, ""
        stop: StopReason | None = None
        for phase in self.job.phases:
            first, last = last + 1, min(last + phase.epochs, self.job.epochs)
            if (self.position.epoch, self.position.batch) == (first, 0) and first <= last:
                # A resumed training that stands here asks again, and gets the same answer from the same scores.
                reason_against = phase.reason_against(selection.best_valid)
            if self.position.epoch <= last and not reason_against:
                stop = self._phase(phase, first, last)
            if stop or reason_against:
                break
        stop = stop or selection.patience_stop(self.job.recipe.train)
        status = RunStatus.COMPLETED if stop is None else _STATUSES.get(stop.kind, RunStatus.INTERRUPTED)
        if status is not RunStatus.DIVERGED:
            self.save()
        else:
            self.writer.write_best(self.position.to_json())
        return TrainingResult(
            status=status,
            stop=stop,
            best_epoch=selection.best_epoch or None,
            valid=selection.best_valid,
            images_per_second=self._images / self._seconds if self._seconds else None,
            left_out=reason_against,
            gain=selection.gain,
            is_gain_used=selection.is_gain_used,
        )

    def _phase(self, phase: Phase, first: int, last: int) -> StopReason | None:
        """Train the epochs `first` to `last`; return why the run must end, or None."""
        if (self.position.epoch, self.position.batch) == (first, 0):
            # A new phase has a new optimizer, right after resuming too: stored moments are those of the phase before.
            self._moments = {}
            self.position.phase_step = self.position.selection.stale = 0  # each phase has its schedule and patience
            if phase.begin is not None:
                phase.begin()
                self._step.restart_average()  # of weights that are gone
        self._step.begin(phase, self._moments)
        self._moments = {}
        with self.job.watcher.watching(phase.name, phase.model, self._step.optimizer):
            while self.position.epoch <= last:
                stop = self._epoch(phase)
                if not stop and self.position.epoch <= last:
                    stop = self._stop_reason()  # an observer may have asked for it at the end of the epoch
                if stop:
                    return stop
                if self.position.selection.patience_stop(self.job.recipe.train):
                    self.position.epoch = last + 1  # the next phase, if any, has a patience of its own
        return None

    def _epoch(self, phase: Phase) -> StopReason | None:
        """Train the epoch under way from its next batch on; return why the run must end, or None."""
        start, wait_seconds, samples_before = time.monotonic(), 0.0, self.position.totals.samples
        position, recipe = self.position, self.job.recipe
        batches = phase.train.epoch(position.epoch, position.batch)
        while True:
            step_start = time.monotonic()
            with self.job.stopwatch.phase("data"):
                step_batches = list(islice(batches, recipe.optim.accumulate))
            if not step_batches:
                self.job.stopwatch.cut()
                break
            data_seconds = time.monotonic() - step_start
            wait_seconds += data_seconds
            self._take_step(phase, step_batches, step_start, data_seconds)
            stop = self._pending.read(position.totals) or self._stop_reason()
            if not stop and position.batch < phase.train.steps:
                stop = self._save_if_due(recipe.train.checkpoint_every)
            if stop:
                return self._pending.read(position.totals, now=True) or stop
        if stop := self._pending.read(position.totals, now=True):
            return stop
        seconds, samples = time.monotonic() - start, position.totals.samples - samples_before
        self._images, self._seconds = self._images + int(samples), self._seconds + seconds
        self._end_epoch(phase, start, data_share=wait_seconds / max(seconds, 1e-9), speed=samples / max(seconds, 1e-9))
        return None

    def _take_step(self, phase: Phase, batches: list[Batch], start: float, data_seconds: float) -> None:
        """Take an optimizer step on batches that were asked for at `start` and came after `data_seconds`."""
        job, position, steps = self.job, self.position, self.job.steps_per_epoch(phase)
        lr = rate(position.phase_step, phase.epochs * steps, steps, job.recipe.optim)
        outcome = self._step.run(batches, lr, step=position.step, epoch=position.epoch)
        position.step += 1
        position.phase_step += 1
        position.batch += len(batches)
        record = StepRecord(
            step=position.step,
            epoch=position.epoch,
            mode="train",
            scalars=outcome.scalars,
            data_seconds=data_seconds,
            step_seconds=time.monotonic() - start,
            ids=tuple(name for batch in batches for name in batch.ids),
        )
        self._pending.add(record, replace(outcome, sums=job.world.average(outcome.sums) * job.world.size))
        job.stopwatch.step(position.step, position.epoch, sum(len(batch.labels) for batch in batches))

    def _end_epoch(self, phase: Phase, start: float, *, data_share: float, speed: float) -> None:
        """Validate, select and announce the epoch. speed: images/s."""
        position = self.position
        train_scores = position.totals.scores()
        valid, best = self._select(phase)
        record = EpochRecord(
            epoch=position.epoch,
            epochs=self.job.epochs,
            step=position.step,
            lr=self._step.lr,
            train=train_scores,
            valid=valid,
            images_per_second=speed,
            data_share=data_share,
            seconds=time.monotonic() - start,
            best=best,
        )
        self._observers.on_epoch(record)
        position.begin_epoch()
        self._save_if_due(min(_EPOCH_CHECKPOINT_SECONDS, self.job.recipe.train.checkpoint_every))

    def _select(self, phase: Phase) -> tuple[Mapping[str, float], bool]:
        """Validate; return the scores ({} without a validation split), and True if the epoch is the best so far."""
        position, monitor = self.position, self.job.recipe.train.monitor
        selection, gain = position.selection, None
        if phase.valid is None:
            valid: Mapping[str, float] = {}
            best = selection.add(position.epoch, valid, monitor)
        else:
            found = validate(self.job, phase, position, self._step.averaged())
            valid = found.scores
            if phase.only_clear_gain and selection.reference is not None:
                gain = paired_gain(selection.reference, found.logits, found.labels, monitor)
            best = selection.add(position.epoch, valid, monitor, gain)
            if not phase.only_clear_gain and any(other.only_clear_gain for other in self.job.phases):
                selection.reference = found.logits
        if best:
            self.writer.best = self._step.result()
        return valid, best

    def _stop_reason(self) -> StopReason | None:
        """Return why a rank must stop, the same on all ranks; None when none must."""
        reason = self.job.stop.reason
        if not self.job.world.any(reason is not None, self.job.device):
            return None
        return next(found for found in self.job.world.gather(reason) if found is not None)

    def _save_if_due(self, every: float) -> StopReason | None:
        """Write a checkpoint when the last one is older than `every` seconds; return why the run must end, or None."""
        if not self.writer.is_due(every, self.job.device):
            return None
        stop = self._pending.read(self.position.totals, now=True)  # no checkpoint after a loss that is not finite
        if not stop:
            self.save()
        return stop

    def save(self) -> None:
        """Write everything that is needed to continue from here."""
        with self.job.stopwatch.span("checkpoint", self.position.step, self.position.epoch):
            tensors, state = self._step.state()
            if self.position.selection.reference is not None:
                tensors[_REFERENCE] = torch.from_numpy(self.position.selection.reference)
            self.writer.write(self.position.to_json(), tensors, state)
