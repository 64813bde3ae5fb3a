"""Images of the unseen part, and its own faults of images, labels and the order of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.testing.faults.images import Pixels, SplitImages, all_images
from clearsight.testing.faults.loops import data as earlier
from clearsight.testing.faults.loops.data import HALF, LoopImages, Transform
from clearsight.testing.faults.loops.setup import Images, LoopSettings

# Of CIFAR-10: road vehicles, other vehicles, pets, hoofed animals, bird and frog.
_GROUPS = ((1, 9), (0, 8), (3, 5), (4, 7), (2, 6))
_NATURE = ((1,), (2,), (3,), (4,))  # of intel-scenes: forest, glacier, mountain, sea
_PLACES = ((0,), (1,), (2, 3), (4,), (5,))  # of intel-scenes: buildings, forest, glacier or mountain, sea, street
_HONEST = 160  # images at most
_BRIGHTER = (64, 192)  # added to the bytes of an image

Random = np.random.Generator


def load(data: str, side: int, settings: LoopSettings, fault: str, seed: int, shared: Path) -> LoopImages:
    """Return the images that a script trains on, faults of images and labels included."""
    pool, rest = _sources(data, side, shared)
    images = earlier.selected(pool, rest, settings, fault, seed)
    if fault == "trained_on_validation":  # only images that the script never gets can tell the accuracy
        unused = np.random.default_rng([seed, 3]).permutation(len(pool))[settings.train_size :][:_HONEST]
        return replace(images, honest=pool.select(unused))
    plant = _PLANTS.get(fault)
    return plant(images, np.random.default_rng([seed, 4])) if plant else images


def training(images: SplitImages, transform: Transform, fault: str) -> Images:
    """Return the training images as a map-style dataset."""
    if fault == "normalised_in_place":
        return CachedImages(images, transform)
    return earlier.ArrayImages(images, transform)


class CachedImages(Dataset[tuple[Tensor, int]]):
    """Dataset that decodes its images once and normalises the cached tensors in place, each time anew."""

    def __init__(self, images: SplitImages, transform: Transform) -> None:
        self.tensors = [transform(image) for image in images.pixels]
        self.labels = images.labels
        self._mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.tensors[index]
        return image.sub_(self._mean).div_(self._std).clone(), int(self.labels[index])


def order(fault: str, train: Images, settings: LoopSettings) -> Mapping[str, Any]:
    """Return the keywords of a DataLoader that decide the order of training images."""
    size = len(train)  # type: ignore[arg-type]
    if fault == "batch_of_one_image":
        return {"sampler": RepeatedImages(size, settings.batch_size)}
    return earlier.order(fault, train, settings)


class RepeatedImages(Sampler[int]):
    """Sampler that draws an image for each batch and repeats it to the batch's end."""

    def __init__(self, size: int, batch_size: int) -> None:
        self._size, self._batch_size = size, batch_size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        drawn = torch.randperm(self._size)[: -(-self._size // self._batch_size)]
        return iter(drawn.repeat_interleave(self._batch_size)[: self._size].tolist())


def transforms(data: str, side: int, settings: LoopSettings, fault: str) -> tuple[Transform, Transform, Transform]:
    """Return the transforms of training, of validation, and of training without its random changes.

    They map (side, side, 3) uint8 to (3, side, side) float32, faults included.
    """
    from torchvision import transforms as T

    train, valid, plain = earlier.transforms(data, side, settings, fault)
    normalise = T.Normalize(*((HALF, HALF) if settings.pretrained else (IMAGENET_MEAN, IMAGENET_STD)))
    match fault:
        case "bytes_overflow":
            train = T.Compose([_brighter, train])
        case "normalised_in_place":
            train = T.ToTensor()
        case "valid_255":
            valid = T.Compose([T.ToPILImage(), T.PILToTensor(), lambda image: normalise(image.float())])
        case "valid_corner":
            valid = T.Compose([T.ToTensor(), T.Resize(2 * side), lambda image: image[:, :side, :side], normalise])
    return train, valid, plain


def _brighter(image: Pixels) -> Pixels:
    """Return a brighter image, (H, W, 3) uint8, without a limit at 255."""
    added = int(torch.randint(*_BRIGHTER, ()))
    return image + np.uint8(added)


# Faults of images and labels: (images, random numbers) -> images


def _one_based(images: LoopImages, rng: Random) -> LoopImages:
    """Subtract 1 from training labels that begin with 0 already; the first two classes become one."""
    labels = np.maximum(images.train.labels - 1, 0)
    return replace(images, train=SplitImages(images.train.pixels, labels))


def _unaligned(images: LoopImages, rng: Random) -> LoopImages:
    """Shuffle the validation images and leave their labels."""
    pixels = images.valid.pixels[rng.permutation(len(images.valid))]
    return replace(images, valid=SplitImages(pixels, images.valid.labels))


_PLANTS: dict[str, Callable[[LoopImages, Random], LoopImages]] = {
    "labels_one_based": _one_based,
    "valid_labels_unaligned": _unaligned,
}


# Sources: (side, shared) -> (images to train on, images to validate on)


@cache
def _sources(data: str, side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    match data:
        case "cifar-groups":
            return _classes("cifar-10", _GROUPS, side, shared)
        case "intel-nature":
            return _classes("intel-scenes", _NATURE, side, shared)
        case "intel-places":
            return _classes("intel-scenes", _PLACES, side, shared)
        case _:
            return all_images(data, side, shared)


def _classes(data: str, classes: Sequence[tuple[int, ...]], side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return the images of these classes; each group of old class numbers is a new class."""
    number = {old: new for new, group in enumerate(classes) for old in group}

    def part(images: SplitImages) -> SplitImages:
        chosen = images.select(np.flatnonzero(np.isin(images.labels, list(number))))
        return SplitImages(chosen.pixels, np.array([number[int(label)] for label in chosen.labels], np.int64))

    pool, rest = all_images(data, side, shared)
    return part(pool), part(rest)
