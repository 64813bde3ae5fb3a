"""Heads on handwritten digits: trained one by one by the loop, and together in a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from clearsight.core.events import EpochRecord, StepRecord
from clearsight.core.recipe import Recipe
from clearsight.models.heads import build_head
from clearsight.models.network import parameter_groups
from clearsight.training.batches import FeatureBatches, Order
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.distributed import World
from clearsight.training.heads.job import HeadData, HeadResult, StackedHead
from clearsight.training.heads.train import train_heads
from clearsight.training.job import Phase, TrainingJob, TrainingResult
from clearsight.training.loop import train
from clearsight.training.loss import balanced_weights
from clearsight.training.stop import StopSignal
from tests.training.recording import Recording

TRAIN, VALID = 200, 100
BASE: dict[str, Any] = {"epochs": 3, "lr": 0.01, "batch_size": 32}  # six whole batches and one of eight


def shuffled(seed: int) -> Order:
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(TRAIN)


def drawn_again(seed: int) -> Order:
    """As balanced sampling does: some images twice, others not at all."""
    return lambda epoch: np.random.default_rng([seed, epoch]).integers(TRAIN, size=TRAIN + 30)


@cache
def digits(classes: int = 10, views: int = 1) -> HeadData:
    """Handwritten digits of 64 pixels, as if they were features; further views are noisier."""
    pixels, labels = load_digits(return_X_y=True)
    chosen = np.flatnonzero(labels < classes)[: TRAIN + VALID]
    features = torch.from_numpy(pixels[chosen] / 16).float()
    noise = torch.randn(views, TRAIN, 64, generator=torch.Generator().manual_seed(0))
    noise *= torch.arange(views).view(-1, 1, 1) * 0.1
    return HeadData(
        views=features[:TRAIN] + noise,
        labels=labels[chosen][:TRAIN],
        order=shuffled,
        classes=classes,
        valid=(features[TRAIN:], labels[chosen][TRAIN:]),
    )


def similar(classes: int = 2) -> HeadData:
    """Two classes that are hard to tell apart: noise with a little difference."""
    labels = np.arange(TRAIN + VALID) % classes
    noise = torch.randn(TRAIN + VALID, 64, generator=torch.Generator().manual_seed(1))
    features = noise + 0.2 * torch.from_numpy(labels).float()[:, None]
    return HeadData(
        views=features[None, :TRAIN],
        labels=labels[:TRAIN],
        order=shuffled,
        classes=classes,
        valid=(features[TRAIN:], labels[TRAIN:]),
    )


@dataclass(frozen=True, kw_only=True)
class LoopRun:
    """Training of one head by the loop."""

    outcome: TrainingResult
    steps: Sequence[StepRecord]
    epochs: Sequence[EpochRecord]
    position: Mapping[str, Any]  # {} after a loss that is no number: the loop then leaves no newest checkpoint
    weights: Mapping[str, Tensor]


Building = Callable[[Recipe], nn.Module]


def head_for(data: HeadData) -> Building:
    def build(recipe: Recipe) -> nn.Module:
        model = recipe.model
        return build_head(data.views.shape[2], data.classes, model.head, model.dropout, recipe.train.seed)

    return build


def train_alone(recipe: Recipe, data: HeadData, folder: Path, build: Building | None = None) -> LoopRun:
    """Train one head as `fit` does, on the same features."""
    folder.mkdir(parents=True, exist_ok=True)
    head = nn.Sequential()
    head.add_module("head", (build or head_for(data))(recipe))  # a phase's model is never the bare head
    size, ids = recipe.train.batch_size, tuple(map(str, range(TRAIN)))
    valid = None
    if data.valid is not None:
        features, labels = data.valid
        valid = FeatureBatches(features[None], labels, ids, lambda _: np.arange(len(labels)), size)
    phase = Phase(
        name="head",
        epochs=recipe.train.resolved_epochs,
        model=head,
        train=FeatureBatches(data.views, data.labels, ids, data.order(recipe.train.seed), size),
        valid=valid,
        enter=lambda: [{**group, "lr_factor": 1.0} for group in parameter_groups(head, 1.0)],
        train_mode=head.train,
    )
    seen, checkpoints = Recording(), Checkpoints(folder)
    balanced = recipe.train.class_weights == "balanced"
    job = TrainingJob(
        network=head,
        phases=[phase],
        recipe=recipe,
        checkpoints=checkpoints,
        observers=[seen],
        stop=StopSignal(),
        world=World(),
        device=torch.device("cpu"),
        class_weights=balanced_weights(data.labels, data.classes) if balanced else None,
    )
    outcome = train(job)
    position = checkpoints.read(checkpoints.newest)[1]["position"] if checkpoints.newest.exists() else {}
    weights = {name.removeprefix("head."): tensor for name, tensor in head.state_dict().items()}
    return LoopRun(outcome=outcome, steps=seen.steps, epochs=seen.epochs, position=position, weights=weights)


def train_together(
    recipes: Sequence[Recipe], data: HeadData, build: Building | None = None, **options: Any
) -> list[HeadResult]:
    heads = [StackedHead(number=number, recipe=recipe) for number, recipe in enumerate(recipes)]
    return train_heads(heads, data, build or head_for(data), **options)


def recipe(**settings: Any) -> Recipe:
    return Recipe().replace(**{**BASE, **settings})


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-4, abs=1e-5)


def assert_same(result: HeadResult, single: LoopRun) -> None:
    """Assert that a head has the same results in a stack and in the loop."""
    assert (result.status, result.stop) == (single.outcome.status, single.outcome.stop)
    assert result.loss.tolist() == near([step.scalars["loss"] for step in single.steps])
    assert result.accuracy.tolist() == near([step.scalars["accuracy"] for step in single.steps])
    assert result.lr.tolist() == pytest.approx([step.scalars["lr"] for step in single.steps])
    assert len(result.epochs) == len(single.epochs)
    for stacked_epoch, loop_epoch in zip(result.epochs, single.epochs, strict=True):
        assert (stacked_epoch.epoch, stacked_epoch.epochs, stacked_epoch.step, stacked_epoch.best) == (
            loop_epoch.epoch,
            loop_epoch.epochs,
            loop_epoch.step,
            loop_epoch.best,
        )
        assert stacked_epoch.lr == pytest.approx(loop_epoch.lr)
        assert stacked_epoch.train == near(loop_epoch.train)
        assert stacked_epoch.valid == near(loop_epoch.valid)
    assert result.best_epoch == single.outcome.best_epoch
    assert result.best_valid == near(single.outcome.valid)
    score = single.position["best_score"]
    assert result.best_score == (None if score is None else near(tuple(score)))
    assert list(result.best_state) == list(single.weights)
    for name, tensor in single.weights.items():
        assert torch.allclose(result.best_state[name], tensor, rtol=1e-4, atol=1e-5), name
