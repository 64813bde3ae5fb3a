"""The zoo's training loop: the plain one that everybody writes, and the faults that lie in such loops.

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
from clearsight.testing.faults.setup import NO_NUMBER, FaultScore, FaultSetup

_EVALUATED = 80  # images a batch
_FROM = 0.5  # of the steps: from there on the learning rate explodes
_EXPLODED = 1000.0


class AttachedHook(Protocol):
    """What is attached to a run: the debugger's hook."""

    epoch: int

    def watch(self, model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer) -> object: ...


def train(setup: FaultSetup, shared: Path, watcher: AttachedHook | None = None) -> FaultScore:
    """Make a run. shared: where images and weights lie. The global random state is left as it was found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        data = load_images(setup, shared)
        return _train(setup, data, shared, watcher)


def _train(setup: FaultSetup, data: FaultImages, shared: Path, watcher: AttachedHook | None) -> FaultScore:
    recipe, began, kept = setup.recipe, time.perf_counter(), Best(setup.recipe)
    model = network(setup, data.classes, shared)
    batches, valid = FaultBatches(setup, data.train), tensors(data.valid, recipe)
    freeze(model, recipe)
    loss, optimizer = criterion(setup, data), make_optimizer(setup, model)
    schedule = Schedule(setup, len(batches), optimizer)
    if watcher is not None:
        watcher.watch(model, loss, optimizer)
    for epoch in range(1, recipe.train.passes + 1):
        if watcher is not None:
            watcher.epoch = epoch
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
        if kept.enough(model, evaluate(model, loss, valid)):
            break
    seconds = time.perf_counter() - began
    return kept.score(honest(setup, model, data, shared), schedule.step, seconds)


@dataclass(slots=True)
class Schedule:
    """Sets the learning rate of each step."""

    setup: FaultSetup
    per_epoch: int
    optimizer: torch.optim.Optimizer
    step: int = 0

    def set(self) -> None:
        """Say that the next step begins."""
        rate = self.setup.recipe.optim.peak * factor(self.setup.recipe, self.step, self.per_epoch)
        if self.setup.plant == "exploding_after_k" and self.step >= _FROM * self.steps:
            rate *= _EXPLODED
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.step += 1

    @property
    def steps(self) -> int:
        return self.per_epoch * self.setup.recipe.train.passes


def factor(recipe: Recipe, step: int, per_epoch: int) -> float:
    """The share of the peak learning rate at a step, from 0; steps count from 0."""
    steps, optim = per_epoch * recipe.train.passes, recipe.optim
    rising = round(optim.warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if optim.schedule == "step":
        return float(optim.gamma ** (step // per_epoch // optim.step_size))
    if optim.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))
    return 1.0


def freeze(model: nn.Module, recipe: Recipe) -> None:
    """`freeze: backbone` leaves only the head to train."""
    if recipe.model.freeze == "backbone":
        last = head(model)
        held = [parameter.requires_grad for parameter in last.parameters()]
        model.requires_grad_(False)
        for parameter, trains in zip(last.parameters(), held, strict=True):
            parameter.requires_grad_(trains)


def training_mode(model: nn.Module, recipe: Recipe) -> None:
    """Training mode; a frozen backbone stays in evaluation mode."""
    model.train()
    if recipe.model.freeze == "backbone":
        for module in model.modules():
            if module is not head(model):
                module.training = module is model


def make_optimizer(setup: FaultSetup, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over what trains."""
    if setup.plant == "everything_frozen":
        model = copy.deepcopy(model)  # the model was replaced after its optimizer was made
    optim, trained = setup.recipe.optim, [p for p in model.parameters() if p.requires_grad]
    if optim.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=optim.peak, momentum=optim.momentum, weight_decay=optim.weight_decay)
    kind = torch.optim.AdamW if optim.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, lr=optim.peak, eps=optim.eps, weight_decay=optim.weight_decay)


class LogOfZero(nn.Module):
    """Binary cross entropy by hand on a hard sigmoid: beyond 3 a probability is 0 or 1, and 0 x log 0 no number."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        p, wanted = nn.functional.hardsigmoid(logits), nn.functional.one_hot(labels, logits.shape[1])
        return -(wanted * p.log() + (1 - wanted) * (1 - p).log()).sum(dim=1).mean()


def criterion(setup: FaultSetup, data: FaultImages) -> nn.Module:
    """The loss of a setup."""
    if setup.plant == "nan_from_log0":
        return LogOfZero()
    train = setup.recipe.train
    weights = balanced_weights(data.train.labels, data.classes) if train.class_weights == "balanced" else None
    return nn.CrossEntropyLoss(weight=weights, label_smoothing=train.label_smoothing)


def evaluate(model: nn.Module, loss: nn.Module, data: Batch) -> tuple[float, float]:
    """Accuracy and mean loss on images, without training."""
    model.eval()
    right, total, count = 0, 0.0, len(data[1])
    with torch.no_grad():
        for images, labels in _pieces(data):
            logits = model(images)
            total += float(loss(logits, labels)) * len(labels)
            right += int((logits.argmax(dim=1) == labels).sum())
    return right / count, total / count


def honest(setup: FaultSetup, model: nn.Module, data: FaultImages, shared: Path) -> float:
    """Accuracy on images outside of the run: another network of the same weights answers, which nobody watches."""
    judge = network(setup, data.classes, shared)
    judge.load_state_dict(model.state_dict())
    judge.eval()
    pieces = list(_pieces(tensors(data.test, setup.recipe)))
    with torch.no_grad():
        return sum(int((judge(images).argmax(1) == labels).sum()) for images, labels in pieces) / len(data.test)


def _pieces(data: Batch) -> Iterable[Batch]:
    return zip(torch.split(data[0], _EVALUATED), torch.split(data[1], _EVALUATED), strict=True)


class Best:
    """Which weights a run keeps: the last, or with a patience the best."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._waited = recipe, 0
        self._scores: list[tuple[float, float]] = []
        self._best = 0

    def enough(self, model: nn.Module, score: tuple[float, float]) -> bool:
        """Take note of an epoch's (accuracy, loss); whether the recipe's patience is at its end."""
        self._scores.append(score)
        if self._rank(score) > self._rank(self._scores[self._best]):
            self._best = len(self._scores) - 1
        patience = self._recipe.train.patience
        return patience is not None and len(self._scores) - 1 - self._best >= patience

    def score(self, honest: float, steps: int, seconds: float) -> FaultScore:
        """How the run went."""
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
    return loss if math.isfinite(loss) else NO_NUMBER
