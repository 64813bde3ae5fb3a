"""Training loop of the planted faults: a plain loop as people write it, and the faults of such loops.

It shares no code with `clearsight.training`. Watching it takes two lines, a hook and `hook.watch(...)`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from clearsight.core.recipe import Recipe
from clearsight.testing.faults.batches import Batch, FaultBatches, balanced_weights, tensors
from clearsight.testing.faults.images import FaultImages, load_images
from clearsight.testing.faults.networks import head, network
from clearsight.testing.faults.setup import NONFINITE_LOSS, FaultScore, FaultSetup

_EVALUATION_BATCH = 80  # images per batch of an evaluation
_EXPLODES_AT = 0.5  # of the steps: from here on the learning rate explodes
_EXPLODED_FACTOR = 1000.0  # times the planned learning rate


class AttachedHook(Protocol):
    """Debugger hook that is attached to a run."""

    epoch: int

    def watch(self, model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer) -> object: ...


def train(setup: FaultSetup, shared: Path, hook: AttachedHook | None = None) -> FaultScore:
    """Train a run and return its score. shared: folder of images and weights. The global random state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        data = load_images(setup, shared)
        return _train(setup, data, shared, hook)


def _train(setup: FaultSetup, data: FaultImages, shared: Path, hook: AttachedHook | None) -> FaultScore:
    recipe, start, best = setup.recipe, time.perf_counter(), Best(setup.recipe)
    model = network(setup, data.classes, shared)
    batches, valid = FaultBatches(setup, data.train), tensors(data.valid, recipe)
    freeze(model, recipe)
    loss, optimizer = criterion(setup, data), make_optimizer(setup, model)
    schedule = Schedule(setup, len(batches), optimizer)
    if hook is not None:
        hook.watch(model, loss, optimizer)
    for epoch in range(1, recipe.train.resolved_epochs + 1):
        if hook is not None:
            hook.epoch = epoch
        training_mode(model, recipe)
        for images, labels in batches(epoch):
            schedule.set()
            value = loss(model(images), labels)
            if setup.plant != "missing_zero_grad":
                optimizer.zero_grad()
            value.backward()
            if recipe.optim.clip_grad is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_grad)
            optimizer.step()
        if best.is_over(model, evaluate(model, loss, valid)):
            break
    seconds = time.perf_counter() - start
    return best.score(honest(setup, model, data, shared), schedule.step, seconds)


@dataclass(slots=True)
class Schedule:
    """Learning rate of each step."""

    setup: FaultSetup
    per_epoch: int
    optimizer: torch.optim.Optimizer
    step: int = 0

    def set(self) -> None:
        """Set the rate of the next step."""
        rate = self.setup.recipe.optim.resolved_lr * factor(self.setup.recipe, self.step, self.per_epoch)
        if self.setup.plant == "exploding_after_k" and self.step >= _EXPLODES_AT * self.steps:
            rate *= _EXPLODED_FACTOR
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.step += 1

    @property
    def steps(self) -> int:
        return self.per_epoch * self.setup.recipe.train.resolved_epochs


def factor(recipe: Recipe, step: int, per_epoch: int) -> float:
    """Return the share of the peak learning rate at a step; steps count from 0."""
    steps, optim = per_epoch * recipe.train.resolved_epochs, recipe.optim
    rising = round(optim.warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if optim.schedule == "step":
        return float(optim.gamma ** (step // per_epoch // optim.step_size))
    if optim.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    return 1.0


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """Leave only the head trainable for `freeze: backbone`."""
    if recipe.model.freeze == "backbone":
        last = head(model)
        trainable = [parameter.requires_grad for parameter in last.parameters()]
        model.requires_grad_(False)
        for parameter, trains in zip(last.parameters(), trainable, strict=True):
            parameter.requires_grad_(trains)


def training_mode(model: nn.Module, recipe: Recipe) -> None:
    """Set training mode; a frozen backbone stays in evaluation mode."""
    model.train()
    if recipe.model.freeze == "backbone":
        for module in model.modules():
            if module is not head(model):
                module.training = module is model


def make_optimizer(setup: FaultSetup, model: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the trainable parameters."""
    if setup.plant == "everything_frozen":
        model = copy.deepcopy(model)  # as if the model were replaced after the optimizer was created
    optim, trained = setup.recipe.optim, [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optim.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=optim.resolved_lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
    kind = torch.optim.AdamW if optim.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, lr=optim.resolved_lr, eps=optim.eps, weight_decay=optim.weight_decay)


class LogOfZero(nn.Module):
    """Binary cross entropy by hand on a hard sigmoid: beyond 3 a probability is 0 or 1, and 0 x log 0 is NaN."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        probability, targets = nn.functional.hardsigmoid(logits), nn.functional.one_hot(labels, logits.shape[1])
        return -(targets * probability.log() + (1 - targets) * (1 - probability).log()).sum(dim=1).mean()


def criterion(setup: FaultSetup, data: FaultImages) -> nn.Module:
    """Return the loss of a setup."""
    if setup.plant == "nan_from_log0":
        return LogOfZero()
    train = setup.recipe.train
    weights = balanced_weights(data.train.labels, data.classes) if train.class_weights == "balanced" else None
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=train.label_smoothing)


def evaluate(model: nn.Module, loss: nn.Module, data: Batch) -> tuple[float, float]:
    """Return accuracy and mean loss on images, without training."""
    model.eval()
    correct, total, count = 0, 0.0, len(data[1])
    with torch.no_grad():
        for images, labels in _split(data):
            logits = model(images)
            total += float(loss(logits, labels)) * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
    return correct / count, total / count


def honest(setup: FaultSetup, model: nn.Module, data: FaultImages, shared: Path) -> float:
    """Return the accuracy on images outside the run, by a copy of the network that no hook watches."""
    copied = network(setup, data.classes, shared)
    copied.load_state_dict(model.state_dict())
    copied.eval()
    batches = list(_split(tensors(data.test, setup.recipe)))
    with torch.no_grad():
        return sum(int((copied(images).argmax(1) == labels).sum()) for images, labels in batches) / len(data.test)


def _split(data: Batch) -> Iterable[Batch]:
    return zip(torch.split(data[0], _EVALUATION_BATCH), torch.split(data[1], _EVALUATION_BATCH), strict=True)


class Best:
    """Weights that a run keeps: the last, or with a patience the best."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scores: list[tuple[float, float]] = []
        self._best = 0

    def is_over(self, model: nn.Module, score: tuple[float, float]) -> bool:
        """Record an epoch's (accuracy, loss). Return True if the recipe's patience has run out."""
        self._scores.append(score)
        if self._rank(score) > self._rank(self._scores[self._best]):
            self._best = len(self._scores) - 1
        patience = self._recipe.train.patience
        return patience is not None and len(self._scores) - 1 - self._best >= patience

    def score(self, honest: float, steps: int, seconds: float) -> FaultScore:
        """Return the score of the run."""
        accuracy, loss = self._scores[self._best if self._recipe.train.patience else -1]
        accuracies, losses = (tuple(part) for part in zip(*self._scores, strict=True))
        return FaultScore(
            accuracy=accuracy,
            loss=_finite(loss),
            honest=honest,
            steps=steps,
            seconds=seconds,
            accuracies=accuracies,
            losses=tuple(_finite(value) for value in losses),
        )

    def _rank(self, score: tuple[float, float]) -> float:
        return -_finite(score[1]) if self._recipe.train.monitor == "loss" else score[0]


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else NONFINITE_LOSS
