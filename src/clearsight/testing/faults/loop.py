"""Training loop of the planted faults: a plain loop as people write it, its batches, and the faults of such loops.

It shares no code with `clearsight.training`. Watching it takes two lines, a hook and `hook.watch(...)`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.recipe import Recipe
from clearsight.debugger.hook import Hook
from clearsight.testing.faults.images import FaultImages, Labels, SplitImages, load_images
from clearsight.testing.faults.networks import head, network
from clearsight.testing.faults.setup import NONFINITE_LOSS, FaultScore, FaultSetup

Batch = tuple[Tensor, Tensor]  # images as the network gets them, (N, 3, side, side) float32, and labels (N,) int64

_SHIFT = 3  # pixels, for images of 32 x 32
_EVALUATION_BATCH = 80  # images per batch of an evaluation
_EXPLODES_AT = 0.5  # of the steps: from here on the learning rate explodes
_EXPLODED_FACTOR = 1000.0  # times the planned learning rate


def train(setup: FaultSetup, shared: Path, hook: Hook | None = None) -> FaultScore:
    """Train a run and return its score. shared: folder of images and weights. The global random state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        data = load_images(setup, shared)
        return _train(setup, data, shared, hook)


def _train(setup: FaultSetup, data: FaultImages, shared: Path, hook: Hook | None) -> FaultScore:
    recipe, start, best, step = setup.recipe, time.perf_counter(), Best(setup.recipe), 0
    model = network(setup, data.classes, shared)
    batches, valid = FaultBatches(setup, data.train), tensors(data.valid, recipe)
    freeze(model, recipe)
    loss, optimizer = criterion(setup, data), make_optimizer(setup, model)
    if hook is not None:
        hook.watch(model, loss, optimizer)
    for epoch in range(1, recipe.train.resolved_epochs + 1):
        if hook is not None:
            hook.epoch = epoch
        training_mode(model, recipe)
        for images, labels in batches(epoch):
            set_rate(optimizer, setup, step, len(batches))
            step += 1
            value = loss(model(images), labels)
            if setup.plant != "missing_zero_grad":
                optimizer.zero_grad()
            value.backward()
            if recipe.optim.clip_grad is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_grad)
            optimizer.step()
        if best.is_over(evaluate(model, loss, valid)):
            break
    seconds = time.perf_counter() - start
    return best.score(honest(setup, model, data, shared), step, seconds)


class FaultBatches:
    """Training batches of a setup: `for images, labels in batches(epoch)`."""

    def __init__(self, setup: FaultSetup, part: SplitImages) -> None:
        self._setup, self._part = setup, part
        self._images, self._labels = tensors(part, setup.recipe)
        self._size = min(setup.recipe.train.batch_size, len(part))

    def __len__(self) -> int:
        """Return the number of batches in an epoch; images that fill no whole batch are left out."""
        return len(self._part) // self._size

    def __call__(self, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([self._setup.seed, 2, epoch])
        order = self._order(rng)
        for start in range(0, len(self) * self._size, self._size):
            rows = torch.from_numpy(order[start : start + self._size])
            images = self._images[rows]
            if self._setup.recipe.data.resolved_augment != "none":
                images = augmented(images, rng)
            yield images, self._labels[rows]

    def _order(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        labels = self._part.labels
        if self._setup.plant == "ordered_batches":
            return np.argsort(labels, kind="stable")
        if self._setup.recipe.data.sampling == "balanced":
            chance = 1 / np.bincount(labels)[labels]
            return rng.choice(len(labels), len(labels), p=chance / chance.sum())
        return rng.permutation(len(labels))


def tensors(part: SplitImages, recipe: Recipe) -> Batch:
    """Return all images of a part, and their labels."""
    mean = torch.tensor(recipe.data.mean or IMAGENET_MEAN).view(3, 1, 1)
    std = torch.tensor(recipe.data.std or IMAGENET_STD).view(3, 1, 1)
    pixels = torch.from_numpy(part.pixels).permute(0, 3, 1, 2).contiguous()
    return (pixels.float() / 255 - mean) / std, torch.from_numpy(part.labels)


def augmented(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the images, each flipped at random, all shifted by a few pixels around the edges."""
    flip = torch.from_numpy(rng.random(len(images)) < 0.5).view(-1, 1, 1, 1)
    limit = _SHIFT * images.shape[-1] // 32
    down, right = (int(shift) for shift in rng.integers(-limit, limit + 1, 2))
    return torch.where(flip, images.flip(-1), images).roll((down, right), dims=(-2, -1))


def balanced_weights(labels: Labels, classes: int) -> Tensor:
    """Return float32 weights of the loss, (classes,), inverse to class frequency, with mean 1 over the images."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return torch.from_numpy((len(labels) / (classes * counts)).astype(np.float32))


def set_rate(optimizer: torch.optim.Optimizer, setup: FaultSetup, step: int, per_epoch: int) -> None:
    """Set the learning rate of a step; steps count from 0, `per_epoch` in an epoch."""
    rate = setup.recipe.optim.resolved_lr * factor(setup.recipe, step, per_epoch)
    steps = per_epoch * setup.recipe.train.resolved_epochs
    if setup.plant == "exploding_after_k" and step >= _EXPLODES_AT * steps:
        rate *= _EXPLODED_FACTOR
    for group in optimizer.param_groups:
        group["lr"] = rate


def factor(recipe: Recipe, step: int, per_epoch: int) -> float:
    """Return the share of the peak learning rate at a step; steps count from 0."""
    steps, optim = per_epoch * recipe.train.resolved_epochs, recipe.optim
    rising = round(optim.warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if optim.resolved_schedule == "step":
        return float(optim.gamma ** (step // per_epoch // optim.step_size))
    if optim.resolved_schedule == "cosine":
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
        parts = (torch.split(part, _EVALUATION_BATCH) for part in data)
        for images, labels in zip(*parts, strict=True):
            logits = model(images)
            total += float(loss(logits, labels)) * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
    return correct / count, total / count


def honest(setup: FaultSetup, model: nn.Module, data: FaultImages, shared: Path) -> float:
    """Return the accuracy on images outside the run, by a copy of the network that no hook watches."""
    copied = network(setup, data.classes, shared)
    copied.load_state_dict(model.state_dict())
    return evaluate(copied, nn.CrossEntropyLoss(), tensors(data.test, setup.recipe))[0]


class Best:
    """Weights that a run keeps: the last, or with a patience the best."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._scores: list[tuple[float, float]] = []
        self._best = 0

    def is_over(self, score: tuple[float, float]) -> bool:
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
