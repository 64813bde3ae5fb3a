"""TrainingStep: one optimizer step, and PendingSteps: finished steps whose numbers are still on the device.

Whatever happens in a step is a function of the recipe, the weights before it and the pair (rank, step): dropout,
mixing and the learning rate all follow from it. That is what makes resuming exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clearsight.core.events import ObserverList, StepRecord
from clearsight.core.machine import TORCH_RANDOM
from clearsight.core.stop import StopKind, StopReason
from clearsight.training.batches import Batch
from clearsight.training.checkpoint import TrainedTensors, optimizer_state, restore_optimizer, trainable_state, under
from clearsight.training.device import autocast
from clearsight.training.job import EpochTotals, Phase, TrainingJob
from clearsight.training.loss import mix, weighted_loss
from clearsight.training.optim import AveragedWeights, build_optimizer, set_rate

_GPU_READS_EVERY = 10  # steps; reading a loss off a GPU waits until the GPU has computed it


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Numbers of one optimizer step on this rank.

    sums: (4,) float32 on the device: weighted losses, weights, correct predictions, images.
    scalars: learning rate and, where it is clipped, the gradient's norm.  watched: scalars of the model watcher.
    """

    sums: Tensor
    scalars: Mapping[str, float]
    watched: Mapping[str, float | Tensor]


class TrainingStep:
    """Takes optimizer steps on the model of a phase. Weights change; nothing is written or announced.

    lr: learning rate of the last step, that of the head.  average: the running average of the weights, if any.
    """

    def __init__(self, job: TrainingJob, trained: TrainedTensors) -> None:
        self._job, self._trained = job, trained
        self.average = AveragedWeights(trained.current(), job.recipe.train.ema) if job.recipe.train.ema else None
        self._class_weights = None if job.class_weights is None else torch.from_numpy(job.class_weights).to(job.device)
        # Enabled for fp16 alone: bfloat16 has the range of float32, so its gradients do not underflow.
        self._scaler = torch.amp.GradScaler(job.device.type, enabled=job.precision == "fp16")
        self._model: nn.Module = nn.Identity()
        self._optimizer: torch.optim.Optimizer | None = None
        self.lr = 0.0

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        assert self._optimizer is not None, "no phase has begun"
        return self._optimizer

    def restart_average(self) -> None:
        """Begin the running average of the weights, if any, with the weights as they are now."""
        if self.average is not None:
            self.average = AveragedWeights(self._trained.current(), self._job.recipe.train.ema)

    def begin(self, phase: Phase, moments: Mapping[str, Tensor] | None = None) -> None:
        """Prepare for the steps of a phase. moments: of its optimizer, as `optimizer_state` returned them."""
        groups = phase.enter()
        phase.train_mode()
        self._optimizer = build_optimizer(groups, self._job.recipe.optim)
        if moments:
            restore_optimizer(self._optimizer, moments)
        self._model = self._job.world.wrap(phase.model, self._job.device)

    def run(self, batches: Sequence[Batch], lr: float, *, step: int, epoch: int) -> StepOutcome:
        """Take one optimizer step on the accumulated batches. step: steps taken before it.  epoch: from 1."""
        with TORCH_RANDOM:  # dropout draws from torch's own generator
            return self._run(batches, lr, step=step, epoch=epoch)

    def _run(self, batches: Sequence[Batch], lr: float, *, step: int, epoch: int) -> StepOutcome:
        job, train, optimizer, phase = self._job, self._job.recipe.train, self.optimizer, self._job.stopwatch.phase
        rng = step_generator(train.seed, job.world.rank, step)
        set_rate(optimizer, lr)
        self.lr = optimizer.param_groups[-1]["lr"]  # that of the head, which may have a factor of its own
        optimizer.zero_grad(set_to_none=True)  # None saves a write of zeros over all gradients
        with phase("hook"):
            job.watcher.before_step(step + 1, epoch)
        parts, correct = [], torch.zeros((), device=job.device)
        for batch in batches:
            with phase("forward"):
                inputs, target = mix(batch.inputs, batch.labels, train.mixup, train.cutmix, rng)
                with autocast(job.device, job.precision):
                    logits = self._model(inputs)
            with phase("hook"):
                job.watcher.after_forward(logits.detach(), batch.labels, batch.indices)
            with phase("loss"):
                parts.append(weighted_loss(logits, target, self._class_weights, train.label_smoothing))
                correct += (logits.detach().argmax(1) == batch.labels).sum()
        with phase("loss"):
            # The sums are divided once, after all batches and over all ranks: the mean of the batches' means would
            # weigh the images of a small last batch, and of one with few class weights, too much.
            loss_sum, weight_sum = (torch.stack(part).sum() for part in zip(*parts, strict=True))
            denominator = job.world.average(weight_sum.detach().clone())
        with phase("backward"):
            self._scaler.scale(loss_sum / denominator).backward()  # type: ignore[no-untyped-call]
        scalars = {"lr": self.lr}
        with phase("optimizer"):
            scalars |= self._update(optimizer)
        with phase("hook"):
            watched = job.watcher.after_step()
        samples = correct.new_tensor(float(sum(len(batch.labels) for batch in batches)))
        sums = torch.stack([loss_sum.detach(), weight_sum.detach(), correct, samples])
        return StepOutcome(sums, scalars, watched)

    def _update(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Change the weights; return the gradient's norm where it is clipped."""
        scalars, clip = {}, self._job.recipe.optim.clip_grad
        if clip is not None:
            self._scaler.unscale_(optimizer)  # else the norm would be that of the scaled gradients
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            scalars["grad_norm"] = float(nn.utils.clip_grad_norm_(trained, clip))
        self._scaler.step(optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.update(self._trained.current())
        return scalars

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the network holds the averaged weights, where an average is kept."""
        return self.average.swapped(self._trained.current()) if self.average is not None else nullcontext()

    def result(self) -> dict[str, Tensor]:
        """Return a copy of the trained tensors as validation sees them: their average, where one is kept."""
        chosen = self.average.values if self.average is not None else self._trained.current()
        return {name: tensor.detach().clone() for name, tensor in chosen.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and JSON values that a checkpoint stores beside the weights and the position."""
        moments = optimizer_state(self._optimizer) if self._optimizer is not None else {}
        tensors = {f"optimizer/{name}": tensor for name, tensor in moments.items()}
        state: dict[str, Any] = {"scaler": self._scaler.state_dict()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.values.items()}
            state["average_updates"] = self.average.updates
        return tensors, state

    def load_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Put back what `state` returned, except the optimizer's moments: those belong to `begin`."""
        if self.average is not None:
            device = self._job.device
            self.average.values = {name: t.to(device) for name, t in under(tensors, "average/").items()}
            self.average.updates = state["average_updates"]
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])


class PendingSteps:
    """Finished steps in order, until their sums are read off the device and their records announced."""

    def __init__(self, device: torch.device, observers: ObserverList) -> None:
        self._every = _GPU_READS_EVERY if device.type == "cuda" else 1
        self._observers = observers
        self._steps: list[tuple[StepRecord, StepOutcome]] = []

    def add(self, record: StepRecord, outcome: StepOutcome) -> None:
        """Append a step. outcome: with sums over all ranks."""
        self._steps.append((record, outcome))

    def read(self, totals: EpochTotals, *, now: bool = False) -> StopReason | None:
        """Add the steps to the totals of their epoch and announce them, at once or when enough have gathered.

        Returns the reason to stop after a loss that is not finite; steps after that one are dropped.
        """
        if not now and len(self._steps) < self._every:
            return None
        steps, self._steps = self._steps, []
        for record, outcome in steps:
            loss_sum, weight_sum, correct, samples = outcome.sums.tolist()
            loss = loss_sum / weight_sum
            watched = {name: float(value) for name, value in outcome.watched.items()}
            scalars = {"loss": loss, "accuracy": correct / samples, **watched, **record.scalars}
            self._observers.on_step(replace(record, scalars=scalars, samples=int(samples)))
            if not math.isfinite(loss):
                return diverged(loss, record.step, record.epoch)
            totals.loss += loss * samples
            totals.correct += correct
            totals.samples += samples
        return None


def diverged(loss: float, step: int, epoch: int) -> StopReason:
    """Return the reason to stop after a loss that is NaN or infinite. step, epoch: where it was, from 1."""
    name = "NaN" if math.isnan(loss) else "infinite"
    return StopReason(StopKind.DIVERGED, f"the loss became {name} at step {step} (epoch {epoch})")


def step_generator(seed: int, rank: int, step: int) -> np.random.Generator:
    """Seed torch for one step (dropout), and return the step's own generator for everything else that is random."""
    draws = np.random.SeedSequence([seed, rank, step]).generate_state(3)
    torch.manual_seed(int(draws[0]))  # of all devices
    return np.random.Generator(np.random.Philox(int(draws[1]) << 32 | int(draws[2])))


def trained_tensors(job: TrainingJob) -> TrainedTensors:
    """Return the tensors that some phase of the job trains: a checkpoint of any phase holds them all."""
    names: dict[str, None] = {}
    for phase in job.phases:
        phase.enter()
        phase.train_mode()
        names |= dict.fromkeys(trainable_state(job.network))
    return TrainedTensors(job.network, names)
