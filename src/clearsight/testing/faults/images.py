"""Images of the planted faults: three public datasets, small, in memory, and the faults of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from clearsight.core.errors import BadChoice, BadValue, NotFound
from clearsight.testing.faults.setup import FaultSetup

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

_MISLABELLED = 0.4  # of the training labels
_IMBALANCE = 30  # images of a large class over those of a small one


@dataclass(frozen=True)
class SplitImages:
    """Images (N, side, side, 3) uint8 and labels (N,) int64."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Labels) -> SplitImages:
        """Return the images at these indices, in that order."""
        return SplitImages(self.pixels[indices], self.labels[indices])


@dataclass(frozen=True)
class FaultImages:
    """Images for training, validation, and a test that is only evaluated at the end."""

    train: SplitImages
    valid: SplitImages
    test: SplitImages
    classes: int


def load_images(setup: FaultSetup, shared: Path) -> FaultImages:
    """Return the images that a setup trains on, its faults of data included.

    shared: the folder with `data/intel-scenes` and `data/cifar-10`. Raises BadChoice for an unknown dataset, NotFound
    where its files are missing, BadValue where it has fewer images than the setup needs.
    """
    pool, rest = all_images(setup.data, setup.side, shared)
    rng = np.random.default_rng([setup.seed, 1])
    classes = int(pool.labels.max()) + 1
    test = rest.select(_balanced_order(rest.labels, setup.valid_size, rng))
    order = _balanced_order(pool.labels, len(pool), rng)
    valid, train = pool.select(order[: setup.valid_size]), pool.select(order[setup.valid_size :])
    if setup.train_size > len(train):
        raise BadValue(f"{setup.train_size} training images of {setup.data}", f"it must be up to {len(train)}")
    chosen = FaultImages(train.select(np.arange(setup.train_size)), valid, test, classes)
    plant = _PLANTS.get(setup.plant)
    return plant(chosen, train, rng) if plant else chosen


@cache
def all_images(data: str, side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return all images of a dataset, (for training and validation, for the test), decoded once per process."""
    if data not in _SOURCES:
        raise BadChoice(f"data {data}", "there are no planted faults for these images", got=data, allowed=_SOURCES)
    return _SOURCES[data](side, shared)


def _balanced_order(labels: Labels, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return `count` indices, shuffled within the classes and taken in turn: as even as the data allow."""
    if count > len(labels):
        raise BadValue(f"{count} images", f"there are {len(labels)}")
    shuffled = rng.permutation(len(labels))
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        in_class = labels[shuffled] == label
        rank[in_class] = np.arange(in_class.sum())
    return shuffled[np.argsort(rank, kind="stable")][:count]


# Faults of data: (selected images, all training images, random numbers) -> images with the fault


def _mislabelled(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """Give two of five training labels another class, drawn evenly."""
    labels = chosen.train.labels.copy()
    noisy = rng.permutation(len(labels))[: round(_MISLABELLED * len(labels))]
    labels[noisy] = (labels[noisy] + rng.integers(1, chosen.classes, len(noisy))) % chosen.classes
    return replace(chosen, train=SplitImages(chosen.train.pixels, labels))


def _leaked(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """Use training images for validation too."""
    return replace(chosen, valid=chosen.train.select(rng.permutation(len(chosen.train))[: len(chosen.valid)]))


def _imbalanced(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """Give the second half of the classes a thirtieth of the images of the first."""
    few = int(np.bincount(train.labels).min()) // _IMBALANCE
    size = {label: _IMBALANCE * few if label < chosen.classes / 2 else few for label in range(chosen.classes)}
    indices = np.concatenate([np.flatnonzero(train.labels == label)[:count] for label, count in size.items()])
    return replace(chosen, train=train.select(rng.permutation(indices)))


_PLANTS: dict[str, Callable[[FaultImages, SplitImages, np.random.Generator], FaultImages]] = {
    "labels_shuffled_40": _mislabelled,
    "leaked_validation": _leaked,
    "class_imbalance_30": _imbalanced,
}


# Sources of images: (side, shared) -> (for training and validation, for the test)


def _digits(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return scikit-learn's handwritten digits, 8 x 8 grey levels of 0 to 16 (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = (raw.images * (255 / 16)).round().astype(np.uint8)
    images = _split([_resized(Image.fromarray(image), side) for image in grey], raw.target)
    order = np.random.default_rng(0).permutation(len(images))
    return images.select(order[400:]), images.select(order[:400])


def _scenes(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return six kinds of scene (intel-scenes), resized to squares."""
    folder = shared / "data" / "intel-scenes"
    return _folders(folder / "seg_train", side), _folders(folder / "seg_test", side)


def _folders(folder: Path, side: int) -> SplitImages:
    if not folder.is_dir():
        raise NotFound(str(folder), "there is no such folder of images")
    pixels, labels = [], []
    for label, kind in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(kind.iterdir()):
            with Image.open(path) as image:
                pixels.append(_resized(image, side))
            labels.append(label)
    return _split(pixels, labels)


def _cifar(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Return a thousand images of CIFAR-10 (Krizhevsky 2009)."""
    from clearsight.core.dataset import ReadOptions
    from clearsight.data.readers.cifar import CifarReader

    listing = CifarReader().read(shared / "data" / "cifar-10", ReadOptions())

    def part(split: str) -> SplitImages:
        records = [record for record in listing.records if record.split == split]
        images = (Image.fromarray(np.asarray(listing.source.read(record.locator))) for record in records)
        labels = [listing.classes.index(str(record.label)) for record in records]
        return _split([_resized(image, side) for image in images], labels)

    return part("train"), part("test")


def _split(pixels: Sequence[Pixels], labels: Sequence[int]) -> SplitImages:
    return SplitImages(np.stack(pixels), np.array(labels, np.int64))


def _resized(image: Image.Image, side: int) -> Pixels:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.uint8)


_SOURCES: dict[str, Callable[[int, Path], tuple[SplitImages, SplitImages]]] = {
    "digits": _digits,
    "intel-scenes": _scenes,
    "cifar-10": _cifar,
}
