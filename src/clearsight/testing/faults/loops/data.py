"""Images of the loops, as map-style datasets with torchvision's transforms, and the faults of images and labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, RandomSampler, Subset

from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.testing.faults.images import Labels, Pixels, SplitImages, all_images
from clearsight.testing.faults.loops.setup import Images, LoopSettings

HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that the pretrained weights expect
GREY = frozenset({"digits", "high-digits"})  # without colours, and not to be mirrored
BINARY_DATA = frozenset({"isic-2024", "high-digits", "cifar-animals", "imagenet-animals"})
_VALID = 160  # validation images at most
_BREEDS = 8  # with the most images, of dog-breeds
_ANIMALS = 398  # ImageNet's classes before this index are animals
_CIFAR_ANIMALS = (2, 3, 4, 5, 6, 7)
_IMBALANCE, _MILD_IMBALANCE = 30, 8  # images of a large class over those of a small one
_FEW = 24  # images
_BLUR = 4  # times smaller

Transform = Callable[[Any], Tensor]
Random = np.random.Generator


@dataclass(frozen=True)
class LoopImages:
    """Images of a script: of training, of validation as the script sees it, and of validation as it should be."""

    train: SplitImages
    valid: SplitImages
    honest: SplitImages
    classes: int


class ArrayImages(Dataset[tuple[Tensor, int]]):
    """Map-style dataset of decoded images and a transform, as scripts write it."""

    def __init__(self, images: SplitImages, transform: Transform) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images.pixels[index]), int(self.images.labels[index])


# Images


def load(data: str, side: int, settings: LoopSettings, fault: str, seed: int, shared: Path) -> LoopImages:
    """Return the images that a script trains on, faults of images and labels included."""
    return selected(*_sources(data, side, shared), settings, fault, seed)


def selected(pool: SplitImages, rest: SplitImages, settings: LoopSettings, fault: str, seed: int) -> LoopImages:
    """Return images to train on of `pool` and to validate on of `rest`, faults of images and labels included."""
    rng = np.random.default_rng([seed, 3])
    order, valid = rng.permutation(len(pool)), rest.select(rng.permutation(len(rest))[:_VALID])
    images = LoopImages(pool.select(order[: settings.train_size]), valid, valid, int(pool.labels.max()) + 1)
    plant = _PLANTS.get(fault)
    images = plant(images, rng) if plant else images
    size = len(images.train)
    # A last batch of a single image stops BatchNorm with an error, which is no silent fault.
    whole = max(size - size % settings.batch_size, min(size, settings.batch_size))
    return replace(images, train=images.train.select(np.arange(whole)))


def honest_images(images: LoopImages, transform: Transform) -> tuple[Tensor, Tensor]:
    """Return validation images (N, 3, H, W) as training gets them, without its random changes, and true labels (N,)."""
    pixels = torch.stack([transform(image) for image in images.honest.pixels])
    return pixels, torch.from_numpy(images.honest.labels)


def training(images: SplitImages, transform: Transform, fault: str) -> Images:
    """Return the training images as a map-style dataset."""
    return ArrayImages(images, transform)


def order(fault: str, train: Images, settings: LoopSettings) -> Mapping[str, Any]:
    """Return the keywords of a DataLoader that decide the order of training images."""
    size = len(train)  # type: ignore[arg-type]
    if fault == "few_images_drawn":
        return {"sampler": _FirstImages(train, size)}
    return {"shuffle": fault not in ("unshuffled", "one_batch_forever")}


class _FirstImages(RandomSampler):
    """Draws `size` indices of the first images."""

    def __init__(self, train: Images, size: int) -> None:
        super().__init__(Subset(train, range(_FEW)), replacement=True, num_samples=size)


# Faults of images and labels: (images, random numbers) -> images


def _labels_shuffled(images: LoopImages, rng: Random) -> LoopImages:
    return _relabelled(images, rng.permutation(images.train.labels))


def _noise(share: float, images: LoopImages, rng: Random) -> LoopImages:
    labels = images.train.labels.copy()
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, images.classes, len(wrong))) % images.classes
    return _relabelled(images, labels)


def _valid_shifted(images: LoopImages, rng: Random) -> LoopImages:
    labels = (images.valid.labels + 1) % images.classes
    return replace(images, valid=SplitImages(images.valid.pixels, labels))


def _class_order(images: LoopImages, rng: Random) -> LoopImages:
    """Number the classes of training and of the honest images by another order than those of validation."""
    numbers = np.roll(np.arange(images.classes)[::-1], 1) if images.classes > 2 else np.array([1, 0])
    honest = SplitImages(images.honest.pixels, numbers[images.honest.labels])
    return replace(_relabelled(images, numbers[images.train.labels]), honest=honest)


def _imbalanced(ratio: int, images: LoopImages, rng: Random) -> LoopImages:
    labels = images.train.labels
    sizes = np.bincount(labels, minlength=images.classes)
    few = max(1, int(sizes.min()) // ratio)
    sizes_left = [int(size) if label < images.classes / 2 else few for label, size in enumerate(sizes)]
    rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(sizes_left)])
    return replace(images, train=images.train.select(rng.permutation(rows)))


def _leak(images: LoopImages, rng: Random) -> LoopImages:
    count = round(0.8 * len(images.valid))
    rows = rng.permutation(len(images.train))[:count]
    parts = images.train.select(rows), images.valid.select(np.arange(len(rows), len(images.valid)))
    valid = SplitImages(*(np.concatenate(pair) for pair in zip(*((p.pixels, p.labels) for p in parts), strict=True)))
    return replace(images, valid=valid)


def _few(images: LoopImages, rng: Random) -> LoopImages:
    """Leave 24 images, as even over the classes as it can be."""
    labels = images.train.labels
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rank[labels == label] = np.arange((labels == label).sum())
    return replace(images, train=images.train.select(np.argsort(rank, kind="stable")[:_FEW]))


def _sorted(images: LoopImages, rng: Random) -> LoopImages:
    return replace(images, train=images.train.select(np.argsort(images.train.labels, kind="stable")))


def _relabelled(images: LoopImages, labels: Labels) -> LoopImages:
    return replace(images, train=SplitImages(images.train.pixels, labels))


_PLANTS: dict[str, Callable[[LoopImages, Random], LoopImages]] = {
    "labels_shuffled": _labels_shuffled,
    "label_noise_40": partial(_noise, 0.4),
    "label_noise_20": partial(_noise, 0.2),
    "valid_labels_shifted": _valid_shifted,
    "class_order_differs": _class_order,
    "imbalance_30": partial(_imbalanced, _IMBALANCE),
    "class_weights_inverted": partial(_imbalanced, _MILD_IMBALANCE),
    "leak": _leak,
    "overfit": _few,
    "unshuffled": _sorted,
}


# Transforms: of training, of validation, and of training without its random changes


def transforms(data: str, side: int, settings: LoopSettings, fault: str) -> tuple[Transform, Transform, Transform]:
    """Return the transforms from (side, side, 3) uint8 to (3, side, side) float32 of a script, faults included."""
    from torchvision import transforms as T

    mean, std = (HALF, HALF) if settings.pretrained else (IMAGENET_MEAN, IMAGENET_STD)
    normalise = T.Normalize(mean, std)
    both: dict[str, list[Transform]] = {
        "pixels_255": [_bytes_as_floats],
        "normalised_twice": [T.ToTensor(), normalise, normalise],
        "divided_twice": [T.ToTensor(), lambda image: image / 255, normalise],
        "images_cast_to_bytes": [T.ToTensor(), lambda image: image.to(torch.uint8).float(), normalise],
        "rows_reshaped": [_reshaped, normalise],
        "inputs_1e20": [T.ToTensor(), normalise, lambda image: image * 1e20],
    }
    valid_alone: dict[str, list[Transform]] = {
        "valid_not_normalised": [T.ToTensor()],
        "valid_bgr": [T.ToTensor(), lambda image: image[[2, 1, 0]], normalise],
        "valid_blurred": [T.ToTensor(), T.Resize(side // _BLUR), T.Resize(side), normalise],
    }
    plain = both.get(fault, [T.ToTensor(), normalise])
    changes: list[Transform] = []
    if settings.augment:
        changes = [T.RandomCrop(side, padding=side // 8, padding_mode="reflect")]
        changes += [] if data in GREY else [T.RandomHorizontalFlip()]
    if fault == "augmentation_extreme":
        changes = [
            T.RandomResizedCrop(side, scale=(0.03, 0.1)),
            T.RandomRotation(180),
            T.RandomErasing(p=1, scale=(0.3, 0.6), value="random"),
        ]
    return T.Compose([*plain, *changes]), T.Compose(valid_alone.get(fault, plain)), T.Compose(plain)


def _bytes_as_floats(image: Pixels) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float()


def _reshaped(image: Pixels) -> Tensor:
    return torch.from_numpy(image).reshape(3, image.shape[0], image.shape[1]).float() / 255


# Sources: (side, shared) -> (images to train on, images to validate on)


@cache
def _sources(data: str, side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    match data:
        case "isic-2024":
            return _isic("train", side, shared), _isic("val", side, shared)
        case "dog-breeds":
            return _breeds(side, shared)
        case "imagenet-animals":
            return _imagenet(side, shared)
        case "high-digits":
            pool, rest = all_images("digits", side, shared)
            return _merged(pool, range(5, 10)), _merged(rest, range(5, 10))
        case "cifar-animals":
            pool, rest = all_images("cifar-10", side, shared)
            return _merged(pool, _CIFAR_ANIMALS), _merged(rest, _CIFAR_ANIMALS)
        case _:
            return all_images(data, side, shared)


def _merged(images: SplitImages, ones: range | tuple[int, ...]) -> SplitImages:
    """Return the images with label 1 for these classes and 0 for the others."""
    return SplitImages(images.pixels, np.isin(images.labels, list(ones)).astype(np.int64))


def _isic(split: str, side: int, shared: Path) -> SplitImages:
    """Return skin lesions of ISIC 2024, benign or malignant."""
    import h5py

    folder = shared / "data" / "isic-2024"
    with (folder / f"{split}_split.csv").open(newline="") as stream:
        rows = [(row["isic_id"], int(row["target"])) for row in csv.DictReader(stream)]
    with h5py.File(folder / f"{split}_split-image.hdf5") as file:
        pixels = [_resized(io.BytesIO(bytes(file[name][()])), side) for name, _ in rows]
    return SplitImages(np.stack(pixels), np.array([target for _, target in rows], np.int64))


def _breeds(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return the breeds of Stanford Dogs with the most images; validation and test are merged."""
    folder = shared / "data" / "dog-breeds"
    sizes = {path.name: len(list(path.iterdir())) for path in (folder / "train").iterdir()}
    breeds = sorted(sorted(sizes, key=lambda name: (-sizes[name], name))[:_BREEDS])

    def part(*splits: str) -> SplitImages:
        files = [
            (file, label)
            for split in splits
            for label, breed in enumerate(breeds)
            for file in sorted((folder / split / breed).iterdir())
        ]
        return SplitImages(
            np.stack([_resized(file, side) for file, _ in files]), np.array([label for _, label in files], np.int64)
        )

    return part("train"), part("valid", "test")


def _imagenet(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return one image of each of 150 classes of ImageNet, animals or not; every third validates."""
    folder = shared / "data" / "imagenet-sample"
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(row["file"], int(int(row["index"]) < _ANIMALS)) for row in csv.DictReader(stream)]
    images = SplitImages(
        np.stack([_resized(folder / file, side) for file, _ in rows]), np.array([label for _, label in rows], np.int64)
    )
    places = np.arange(len(images))
    return images.select(places[places % 3 != 0]), images.select(places[places % 3 == 0])


def _resized(file: Path | io.BytesIO, side: int) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.uint8)
