"""The plain loop and its batches follow the recipe and the seed, and each planted fault does what its name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.testing.faults.catalogue import base
from clearsight.testing.faults.images import load_images
from clearsight.testing.faults.loop import (
    FaultBatches,
    augmented,
    balanced_weights,
    factor,
    freeze,
    set_rate,
    tensors,
    train,
    training_mode,
)
from clearsight.testing.faults.networks import head, network
from clearsight.testing.faults.setup import NONFINITE_LOSS, FaultSetup


class Listener:
    """Records rates, gradients and changes of the weights in a loop."""

    epoch = 0

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.gradients: list[float] = []
        self.moved: list[bool] = []

    def watch(self, model: nn.Module, loss: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._start = [parameter.detach().clone() for parameter in model.parameters()]

        def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            self.rates.append(optimizer.param_groups[0]["lr"])
            pairs = zip(model.parameters(), self._start, strict=True)
            self.moved.append(any(not torch.equal(now, before) for now, before in pairs))

        optimizer.register_step_post_hook(stepped)


def listened(setup: FaultSetup, **changes: Any) -> Listener:
    listener = Listener()
    train(setup.changed(epochs=2, **changes), Path(), listener)
    return listener


def test_a_healthy_run_learns(setup: FaultSetup) -> None:
    score = train(setup, Path())
    assert score.accuracy > 0.6
    assert score.steps == 20
    assert len(score.accuracies) == 4


def test_the_same_setup_is_the_same_run(setup: FaultSetup) -> None:
    first, repeated = train(setup.changed(epochs=1), Path()), train(setup.changed(epochs=1), Path())
    assert replace(first, seconds=0) == replace(repeated, seconds=0)


def test_the_global_random_state_stays(setup: FaultSetup) -> None:
    before = torch.get_rng_state()
    train(setup.changed(epochs=1), Path())
    assert torch.equal(before, torch.get_rng_state())


def test_the_rate_rises_and_falls(setup: FaultSetup) -> None:
    rates = listened(setup, lr=0.01, warmup=0.3).rates
    assert max(rates) == pytest.approx(0.01)
    assert rates[0] < rates[1] < max(rates)
    assert rates[-1] < 0.1 * max(rates)


def test_a_step_schedule_falls_by_gamma(setup: FaultSetup) -> None:
    recipe = setup.changed(schedule="step", step_size=2, gamma=0.5, warmup=0.0).recipe
    assert [factor(recipe, 5 * epoch, 5) for epoch in range(4)] == [1, 1, 0.5, 0.5]


def test_exploding_after_k_multiplies_the_rate_from_the_middle_on(setup: FaultSetup) -> None:
    rates = listened(replace(setup, plant="exploding_after_k"), schedule="constant", warmup=0.0).rates
    assert rates[5] == pytest.approx(1000 * rates[4])


def test_everything_frozen_never_moves(setup: FaultSetup) -> None:
    assert not any(listened(replace(setup, plant="everything_frozen")).moved)
    assert all(listened(setup).moved)


def test_missing_zero_grad_hurts(setup: FaultSetup) -> None:
    assert train(replace(setup, plant="missing_zero_grad"), Path()).accuracy < train(setup, Path()).accuracy


def test_nan_from_log0_ends_in_nan(setup: FaultSetup) -> None:
    score = train(replace(setup, plant="nan_from_log0").changed(epochs=6), Path())
    assert score.loss == NONFINITE_LOSS


def test_patience_stops_early_and_keeps_the_best(setup: FaultSetup) -> None:
    score = train(setup.changed(epochs=8, lr=1e-7, patience=1), Path())
    assert len(score.accuracies) == 2
    assert score.accuracy == max(score.accuracies)


def test_a_frozen_backbone_stays_in_evaluation_mode(setup: FaultSetup) -> None:
    setup = replace(setup, network="small_cnn").changed(freeze="backbone")
    model = network(setup, 10, Path())
    freeze(model, setup.recipe)
    training_mode(model, setup.recipe)
    assert model.training
    assert {module.training for module in model.children()} == {True, False}
    assert [p is head(model).weight or p is head(model).bias for p in model.parameters() if p.requires_grad] == [
        True
    ] * 2


def test_the_rate_explodes_from_half_of_the_20_steps_on(setup: FaultSetup) -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    rates = []
    for step in (9, 10):
        set_rate(optimizer, replace(setup, plant="exploding_after_k").changed(schedule="constant"), step, per_epoch=5)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[1] == pytest.approx(1000 * rates[0])


@pytest.mark.slow
@pytest.mark.parametrize("pair", [("mobilenetv2", "intel-scenes"), ("resnet18", "cifar-10"), ("vit_tiny", "digits")])
def test_every_network_learns(pair: tuple[str, str], shared: Path) -> None:
    score = train(base(pair, 0), shared)
    assert score.accuracy > (2 / 6 if pair[1] == "intel-scenes" else 2 / 10)


def labels(setup: FaultSetup, epoch: int = 1) -> list[list[int]]:
    batches = FaultBatches(setup, load_images(setup, Path()).train)
    return [batch.tolist() for _, batch in batches(epoch)]


def test_an_epoch_is_every_image_in_whole_batches(setup: FaultSetup) -> None:
    assert [len(batch) for batch in labels(setup)] == [32] * 5


def test_the_order_follows_from_seed_and_epoch(setup: FaultSetup) -> None:
    assert labels(setup, 1) == labels(setup, 1)
    assert labels(setup, 1) != labels(setup, 2)


def test_ordered_batches_come_class_by_class(setup: FaultSetup) -> None:
    flat = [label for batch in labels(replace(setup, plant="ordered_batches")) for label in batch]
    assert flat == sorted(flat)


def test_balanced_sampling_evens_out(setup: FaultSetup) -> None:
    balanced = replace(setup, plant="class_imbalance_30").changed(sampling="balanced")
    counts = np.bincount([label for batch in labels(balanced) for label in batch])
    assert counts.max() < 2 * counts.min()


def test_balanced_weights_weigh_classes_alike() -> None:
    weights = balanced_weights(np.array([0, 0, 0, 1]), 2)
    assert weights[1] == 3 * weights[0]
    assert float(3 * weights[0] + weights[1]) == 4.0


def test_images_are_normalised_by_the_recipe(setup: FaultSetup) -> None:
    part = load_images(setup, Path()).train
    images, _ = tensors(part, setup.changed(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).recipe)
    assert images.min() >= -1
    assert images.max() <= 1
    raw, _ = tensors(part, setup.changed(mean=(0.0,) * 3, std=(1 / 255,) * 3).recipe)
    torch.testing.assert_close(raw.amax(), torch.tensor(255.0))


def test_moved_images_keep_their_pixels() -> None:
    images = torch.arange(2 * 3 * 8 * 8).view(2, 3, 8, 8).float()
    changed = augmented(images, np.random.default_rng(0))
    assert torch.equal(changed.flatten(1).sort().values, images.flatten(1))
