"""The training loop. It takes a model, batches and observers; it knows no reader, no rule and no zoo.

One rule makes resuming exact: whatever happens in a step is a function of the recipe, the weights before it and the
pair (rank, step). The order of the images, their augmentation, dropout, mixing and the learning rate all follow from
it, so a checkpoint needs the weights, the optimizer's moments and a position, and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clearsight.core.errors import NotResumable
from clearsight.core.events import EpochRecord, RunStatus, StepRecord
from clearsight.training import metrics
from clearsight.training.batches import Batch, Batches
from clearsight.training.checkpoint import (
    Checkpoints,
    frozen_digest,
    load_into,
    optimizer_state,
    restore_optimizer,
    trainable_state,
)
from clearsight.training.ema import AveragedWeights
from clearsight.training.job import Phase, TrainingJob, TrainingPosition, TrainingResult
from clearsight.training.loss import weighted_loss
from clearsight.training.mixing import mix
from clearsight.training.observers import ObserverList
from clearsight.training.optim import build_optimizer, rate, set_rate
from clearsight.training.scoring import outputs
from clearsight.training.stop import FINDING, TIME_LIMIT

_EPOCH_CHECKPOINT_SECONDS = 10.0  # epochs shorter than this share a checkpoint: writing must not outweigh training
_GPU_READS_EVERY = 10  # steps; reading a loss off a GPU waits for it
_DIVERGED = "the loss became"
_ENDS = {  # how a reason begins
    _DIVERGED: RunStatus.DIVERGED,
    TIME_LIMIT: RunStatus.STOPPED_EARLY,
    FINDING: RunStatus.STOPPED_EARLY,
}


def train(job: TrainingJob, *, resume: bool = False) -> TrainingResult:
    """Run the job to its end, from its newest checkpoint when `resume`.

    The network then holds the weights of the best epoch (of the last one without a validation split), unless no epoch
    was finished. Raises NotResumable when there is no usable checkpoint; errors of vital observers pass through.
    """
    training = Training(job)
    if resume:
        training.resume()
    outcome = training.run()
    if job.checkpoints.best.exists() and outcome.best_epoch:
        load_into(job.network, job.checkpoints.read(job.checkpoints.best)[0])
    return outcome


class Training:
    """The state of one run between two steps."""

    def __init__(self, job: TrainingJob) -> None:
        self.job, self.at = job, TrainingPosition()
        self.changing = _names_that_change(job)
        self.optimizer: torch.optim.Optimizer | None = None
        self.average = AveragedWeights(self._live(), job.recipe.train.ema) if job.recipe.train.ema else None
        self.weights = None if job.class_weights is None else torch.from_numpy(job.class_weights).to(job.device)
        self.scaler = torch.amp.GradScaler(job.device.type, enabled=job.precision == "fp16")
        self.moments: dict[str, Tensor] = {}  # of the optimizer of a resumed phase
        self.best: dict[str, Tensor] | None = None  # of the best epoch, while it is not on disk
        self.saved_at = time.monotonic()
        self.images, self.busy, self.lr = 0, 0.0, 0.0
        self.announce = ObserverList(job.observers)
        self.unread: list[tuple[StepRecord, Tensor, Mapping[str, float | Tensor]]] = []

    @cached_property
    def base(self) -> str:
        """A digest of what does not change: a checkpoint fits no other weights under the trained part."""
        return frozen_digest(self.job.network, dict.fromkeys(self.changing, torch.empty(0)))

    def resume(self) -> None:
        """Take up the newest checkpoint."""
        tensors, state = self.job.checkpoints.read(self.job.checkpoints.newest)
        if state["base"] != self.base:
            raise NotResumable(
                str(self.job.checkpoints.newest),
                "the weights under the trained part are not those that the run began with",
                fix="Put the original weights file back, or start a new run.",
            )
        self.at = TrainingPosition(**state["position"])
        if self.at.best_score is not None:
            value, tie = self.at.best_score  # a list, as JSON has no tuples
            self.at.best_score = (value, tie)
        load_into(self.job.network, _under(tensors, "model/"))
        self.moments = _under(tensors, "optimizer/")
        if self.average is not None:
            device = self.job.device
            self.average.values = {name: t.to(device) for name, t in _under(tensors, "average/").items()}
            self.average.updates = state["average_updates"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def run(self) -> TrainingResult:
        """Train to the end, to a stop, or to a loss that is no number."""
        last, ended = 0, ""
        for phase in self.job.phases:
            first, last = last, last + phase.epochs
            if self.at.epoch <= last:
                ended = self._phase(phase, first, last)
            if ended:
                break
        status = RunStatus.COMPLETED
        if ended:
            status = next((kind for start, kind in _ENDS.items() if ended.startswith(start)), RunStatus.INTERRUPTED)
        elif self._out_of_patience():
            status, ended = RunStatus.STOPPED_EARLY, f"no better {self._monitor} in {self.at.stale} epochs"
        if status is not RunStatus.DIVERGED:
            self.save()
        else:
            self._save_best()
            self.job.world.wait()
        return TrainingResult(
            status=status,
            reason=ended,
            best_epoch=self.at.best_epoch or None,
            valid=self.at.best_valid,
            images_per_second=self.images / self.busy if self.busy else None,
        )

    def _phase(self, phase: Phase, first: int, last: int) -> str:
        """Train the epochs first + 1 to last; returns why the run must end, or ""."""
        groups = phase.enter()
        phase.train_mode()
        self.optimizer = build_optimizer(groups, self.job.recipe.optim)
        if (self.at.epoch, self.at.batch) == (first + 1, 0):
            self.at.phase_step = self.at.stale = 0
        elif self.moments:
            restore_optimizer(self.optimizer, self.moments)
        self.moments = {}
        model = self.job.world.wrap(phase.model, self.job.device)
        total = phase.epochs * self._steps(phase)
        with self.job.watcher.watching(phase.name, phase.model, self.optimizer):
            while self.at.epoch <= last:
                ended = self._epoch(phase, model, total)
                if not ended and self.at.epoch <= last:
                    ended = self._stop_reason()  # what an observer thought of the epoch
                if ended:
                    return ended
                if self._out_of_patience():
                    self.at.epoch = last + 1
        return ""

    def _epoch(self, phase: Phase, model: nn.Module, total: int) -> str:
        began, waited, before = time.monotonic(), 0.0, self.at.samples
        at, how = self.at, self.job.recipe
        batches = phase.train.epoch(at.epoch, at.batch)
        while True:
            asked = time.monotonic()
            with self.job.stopwatch.phase("data"):
                window = list(islice(batches, how.optim.accumulate))
            if not window:
                self.job.stopwatch.cut()
                break
            data_seconds = time.monotonic() - asked
            waited += data_seconds
            self.step(model, window, rate(at.phase_step, total, self._steps(phase), how.optim), data_seconds, asked)
            ended = self._read_losses() or self._stop_reason()
            if not ended and at.batch < phase.train.steps:
                ended = self._save_if_due(how.train.checkpoint_every)
            if ended:
                return self._read_losses(now=True) or ended
        if ended := self._read_losses(now=True):
            return ended
        seconds = time.monotonic() - began
        self.images, self.busy = self.images + int(at.samples - before), self.busy + seconds
        self._end_epoch(phase, began, waited / max(seconds, 1e-9), (at.samples - before) / max(seconds, 1e-9))
        return ""

    def step(self, model: nn.Module, window: list[Batch], lr: float, waited: float, began: float) -> None:
        """One optimizer step on the batches of `window`, which took `waited` seconds to come since `began`."""
        job, at, optimizer, phase = self.job, self.at, self.optimizer, self.job.stopwatch.phase
        assert optimizer is not None
        how = job.recipe
        rng = step_generator(how.train.seed, job.world.rank, at.step)
        set_rate(optimizer, lr)
        self.lr = optimizer.param_groups[-1]["lr"]  # that of the head, which may have a factor of its own
        optimizer.zero_grad(set_to_none=True)
        with phase("hook"):
            job.watcher.step(at.step + 1, at.epoch)
        parts, right = [], torch.zeros((), device=job.device)
        for batch in window:
            with phase("forward"):
                inputs, target = mix(batch.inputs, batch.labels, how.train.mixup, how.train.cutmix, rng)
                with self._autocast():
                    logits = model(inputs)
            with phase("hook"):
                job.watcher.answered(logits.detach(), batch.labels, batch.indices)
            with phase("loss"):
                parts.append(weighted_loss(logits, target, self.weights, how.train.label_smoothing))
                right += (logits.detach().argmax(1) == batch.labels).sum()
        with phase("loss"):
            loss_sum, weight_sum = (torch.stack(part).sum() for part in zip(*parts, strict=True))
            denominator = job.world.average(weight_sum.detach().clone())
        with phase("backward"):
            self.scaler.scale(loss_sum / denominator).backward()  # type: ignore[no-untyped-call]
        scalars = {"lr": self.lr}
        with phase("optimizer"):
            scalars |= self._update(optimizer)
        with phase("hook"):
            seen = job.watcher.stepped()
        at.step, at.phase_step, at.batch = at.step + 1, at.phase_step + 1, at.batch + len(window)
        samples = sum(len(batch.labels) for batch in window)
        sums = torch.stack([loss_sum.detach(), weight_sum.detach(), right, right.new_tensor(float(samples))])
        record = StepRecord(
            step=at.step,
            epoch=at.epoch,
            mode="train",
            scalars=scalars,
            data_seconds=waited,
            step_seconds=time.monotonic() - began,
            ids=tuple(name for batch in window for name in batch.ids),
        )
        self.unread.append((record, job.world.average(sums) * job.world.size, seen))
        job.stopwatch.step(at.step, at.epoch, samples)

    def _update(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Change the weights; returns the gradient's norm where it is clipped."""
        scalars, clip = {}, self.job.recipe.optim.clip_grad
        if clip is not None:
            self.scaler.unscale_(optimizer)
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            scalars["grad_norm"] = float(nn.utils.clip_grad_norm_(trained, clip))
        self.scaler.step(optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self._live())
        return scalars

    def _read_losses(self, *, now: bool = False) -> str:
        """Take finished steps' sums off the device, tally and announce them; returns why to end, or ""."""
        if not now and self.job.device.type == "cuda" and len(self.unread) < _GPU_READS_EVERY:
            return ""
        waiting, self.unread = self.unread, []
        for record, sums, seen in waiting:
            loss_sum, weight_sum, right, samples = sums.tolist()
            loss = loss_sum / weight_sum
            extra = {name: float(value) for name, value in seen.items()}
            scalars = {"loss": loss, "accuracy": right / samples, **extra, **record.scalars}
            self.announce.step(replace(record, scalars=scalars, samples=int(samples)))
            if not math.isfinite(loss):
                return f"{_DIVERGED} {loss} at step {record.step} (epoch {record.epoch})"
            self.at.loss += loss * samples
            self.at.right += right
            self.at.samples += samples
        return ""

    def _end_epoch(self, phase: Phase, began: float, data_share: float, speed: float) -> None:
        at = self.at
        trained = {"loss": at.loss / at.samples, "accuracy": at.right / at.samples}
        valid = self._validate(phase) if phase.valid is not None else {}
        better = self._is_better(valid)
        if better:
            at.best_epoch, at.best_valid, at.stale = at.epoch, valid, 0
            chosen = self.average.values if self.average is not None else self._live()
            self.best = {name: tensor.detach().clone() for name, tensor in chosen.items()}
        else:
            at.stale += 1
        record = EpochRecord(
            epoch=at.epoch,
            epochs=sum(phase.epochs for phase in self.job.phases),
            step=at.step,
            lr=self.lr,
            train=trained,
            valid=valid,
            images_per_second=speed,
            data_share=data_share,
            seconds=time.monotonic() - began,
            best=better,
        )
        self.announce.epoch(record)
        at.epoch, at.batch = at.epoch + 1, 0
        at.loss = at.right = at.samples = 0.0
        self._save_if_due(min(_EPOCH_CHECKPOINT_SECONDS, self.job.recipe.train.checkpoint_every))

    def _validate(self, phase: Phase) -> dict[str, float]:
        assert phase.valid is not None
        with self.job.stopwatch.stretch("validation", self.at.step, self.at.epoch):
            return self._evaluated(phase, phase.valid)

    def _evaluated(self, phase: Phase, valid: Batches) -> dict[str, float]:
        self.job.network.eval()
        phase.model.eval()
        self.job.watcher.evaluating(self.at.epoch, self.at.step)
        with self.average.swapped(self._live()) if self.average is not None else nullcontext():
            logits, labels = outputs(phase.model, valid, self._autocast, self.job.world)
        self.job.watcher.answered(logits, labels, np.arange(len(labels)))
        phase.train_mode()
        return metrics.scores(logits, labels)

    def _is_better(self, valid: Mapping[str, float]) -> bool:
        """Whether this epoch beats the best so far; without validation the latest is the best."""
        if not valid:
            return True
        value = -valid["loss"] if self._monitor == "loss" else valid.get(self._monitor, valid["accuracy"])
        score = (value, -valid["loss"])
        if not all(map(math.isfinite, score)) or (self.at.best_score is not None and score <= self.at.best_score):
            return False
        self.at.best_score = score
        return True

    def _out_of_patience(self) -> bool:
        patience = self.job.recipe.train.patience
        return patience is not None and self.at.stale >= patience

    def _stop_reason(self) -> str:
        reason = self.job.stop.reason
        if not self.job.world.any(bool(reason), self.job.device):
            return ""
        return next(text for text in self.job.world.gather(reason) if text)

    def _save_if_due(self, every: float) -> str:
        """Write a checkpoint after `every` seconds; returns why the run must end, or ""."""
        # Rank 0's clock decides for all: they wait for each other inside.
        if not self.job.world.any(self.job.world.leads and time.monotonic() - self.saved_at > every, self.job.device):
            return ""
        ended = self._read_losses(now=True)  # a loss that is no number must not be followed by a checkpoint
        if not ended:
            self.save()
        return ended

    def save(self) -> None:
        """Write what is needed to go on. Best first: a newest checkpoint never speaks of a best that is not there."""
        with self.job.stopwatch.stretch("checkpoint", self.at.step, self.at.epoch):
            self._save()

    def _save(self) -> None:
        if self.job.world.leads:
            self._save_best()
            tensors = {f"model/{name}": tensor for name, tensor in self._live().items()}
            moments = optimizer_state(self.optimizer) if self.optimizer is not None else {}
            tensors |= {f"optimizer/{name}": tensor for name, tensor in moments.items()}
            state: dict[str, Any] = {"position": asdict(self.at), "base": self.base, "scaler": self.scaler.state_dict()}
            if self.average is not None:
                tensors |= {f"average/{name}": tensor for name, tensor in self.average.values.items()}
                state["average_updates"] = self.average.updates
            Checkpoints.write(self.job.checkpoints.newest, tensors, state)
        self.job.world.wait()
        self.saved_at = time.monotonic()

    def _save_best(self) -> None:
        if self.best is not None and self.job.world.leads:
            scores = {"epoch": self.at.best_epoch, "valid": self.at.best_valid}
            Checkpoints.write(self.job.checkpoints.best, self.best, scores)
        self.best = None

    def _live(self) -> dict[str, Tensor]:
        state = self.job.network.state_dict(keep_vars=True)
        return {name: state[name] for name in self.changing}

    def _autocast(self) -> AbstractContextManager[object]:
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.job.precision)
        return nullcontext() if kind is None else torch.autocast(self.job.device.type, dtype=kind)

    def _steps(self, phase: Phase) -> int:
        return -(-phase.train.steps // self.job.recipe.optim.accumulate)

    @property
    def _monitor(self) -> str:
        return self.job.recipe.train.monitor


def step_generator(seed: int, rank: int, step: int) -> np.random.Generator:
    """Seed torch for one step (dropout), and give the step's own generator for everything else that is random."""
    draws = np.random.SeedSequence([seed, rank, step]).generate_state(3)
    torch.manual_seed(int(draws[0]))
    return np.random.Generator(np.random.Philox(int(draws[1]) << 32 | int(draws[2])))


def _names_that_change(job: TrainingJob) -> list[str]:
    """Names of the tensors that some phase trains: a checkpoint of any phase holds them all."""
    names: dict[str, None] = {}
    for phase in job.phases:
        phase.enter()
        phase.train_mode()
        names |= dict.fromkeys(trainable_state(job.network))
    return list(names)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
