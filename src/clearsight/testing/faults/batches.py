"""Training batches of a setup: their order, random changes and normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.recipe import Recipe
from clearsight.testing.faults.images import Labels, SplitImages
from clearsight.testing.faults.setup import FaultSetup

Batch = tuple[Tensor, Tensor]
_SHIFT = 3  # pixels, for images of 32 x 32


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
            if self._setup.recipe.data.augment != "none":
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
    """Return all images of a part as the network gets them, (N, 3, side, side) float32, and labels (N,) int64."""
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
