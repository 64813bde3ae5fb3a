"""Batches: each image once per epoch, in another order, as the recipe says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clearsight.testing.faults.batches import FaultBatches, augmented, balanced_weights, tensors
from clearsight.testing.faults.images import load_images
from clearsight.testing.faults.setup import FaultSetup


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
