"""The zoo's images: three public data sets, small, in memory, and the faults that lie in data."""

from __future__ import annotations

from collections.abc import Callable
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

_MISLABELLED = 0.4
_IMBALANCE = 30


@dataclass(frozen=True)
class SplitImages:
    """Images (N, side, side, 3) uint8 and labels (N,) int64."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, places: Labels) -> SplitImages:
        """The images at the given places, in that order."""
        return SplitImages(self.pixels[places], self.labels[places])


@dataclass(frozen=True)
class FaultImages:
    """Training, validation, and images that are looked at only when all is over."""

    train: SplitImages
    valid: SplitImages
    test: SplitImages
    classes: int


def load_images(setup: FaultSetup, shared: Path) -> FaultImages:
    """What a setup trains on, its data faults included.

    shared: the folder with `data/intel-scenes` and `data/cifar-10`. Raises BadChoice for an unknown data set, NotFound
    where its files are not there, BadValue where it has fewer images than the setup asks for.
    """
    pool, rest = whole(setup.data, setup.side, shared)
    rng = np.random.default_rng([setup.seed, 1])
    classes = int(pool.labels.max()) + 1
    test = rest.pick(_even(rest.labels, setup.valid_size, rng))
    order = _even(pool.labels, len(pool), rng)
    valid, train = pool.pick(order[: setup.valid_size]), pool.pick(order[setup.valid_size :])
    if setup.train_size > len(train):
        raise BadValue(f"{setup.train_size} training images of {setup.data}", f"it must be up to {len(train)}")
    chosen = FaultImages(train.pick(np.arange(setup.train_size)), valid, test, classes)
    plant = _PLANTS.get(setup.plant)
    return plant(chosen, train, rng) if plant else chosen


@cache
def whole(data: str, side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """All of a data set, (for training and validation, for the test), decoded once in a process."""
    if data not in _SOURCES:
        raise BadChoice(f"data {data}", "the zoo has no such images", got=data, allowed=_SOURCES)
    return _SOURCES[data](side, shared)


def _even(labels: Labels, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Places of `count` images, shuffled within the classes and dealt out class by class, as evenly as there are."""
    if count > len(labels):
        raise BadValue(f"{count} images", f"there are {len(labels)}")
    shuffled = rng.permutation(len(labels))
    turn = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels[shuffled] == label
        turn[mine] = np.arange(mine.sum())
    dealt: npt.NDArray[np.int64] = shuffled[np.argsort(turn, kind="stable")][:count]
    return dealt


# Faults in the data: (what was chosen, all training images there are, random numbers) -> what is trained on


def _mislabelled(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """Two of five training labels are another class, drawn evenly."""
    labels = chosen.train.labels.copy()
    wrong = rng.permutation(len(labels))[: round(_MISLABELLED * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, chosen.classes, len(wrong))) % chosen.classes
    return replace(chosen, train=SplitImages(chosen.train.pixels, labels))


def _leaked(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """The validation images are training images too."""
    return replace(chosen, valid=chosen.train.pick(rng.permutation(len(chosen.train))[: len(chosen.valid)]))


def _imbalanced(chosen: FaultImages, train: SplitImages, rng: np.random.Generator) -> FaultImages:
    """The second half of the classes has a thirtieth of the images of the first."""
    few = int(np.bincount(train.labels).min()) // _IMBALANCE
    size = {label: _IMBALANCE * few if label < chosen.classes / 2 else few for label in range(chosen.classes)}
    places = np.concatenate([np.flatnonzero(train.labels == label)[:count] for label, count in size.items()])
    return replace(chosen, train=train.pick(rng.permutation(places)))


_PLANTS: dict[str, Callable[[FaultImages, SplitImages, np.random.Generator], FaultImages]] = {
    "labels_shuffled_40": _mislabelled,
    "leaked_validation": _leaked,
    "class_imbalance_30": _imbalanced,
}


# Where the images come from: (side, shared) -> (for training and validation, for the test)


def _digits(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """scikit-learn's handwritten digits, 8 x 8 grey levels of 0 to 16 (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    grey = (raw.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.stack([_resized(Image.fromarray(image), side) for image in grey])
    whole = SplitImages(pixels, raw.target.astype(np.int64))
    order = np.random.default_rng(0).permutation(len(whole))
    return whole.pick(order[400:]), whole.pick(order[:400])


def _scenes(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """Six kinds of scene (intel-scenes), squeezed to squares."""
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
    return SplitImages(np.stack(pixels), np.array(labels, np.int64))


def _cifar(side: int, shared: Path) -> tuple[SplitImages, SplitImages]:
    """A thousand images of CIFAR-10 (Krizhevsky 2009)."""
    from clearsight.core.dataset import ReadOptions
    from clearsight.data.readers.cifar import CifarReader

    listing = CifarReader().read(shared / "data" / "cifar-10", ReadOptions())

    def part(split: str) -> SplitImages:
        records = [record for record in listing.records if record.split == split]
        pixels = [
            _resized(Image.fromarray(np.asarray(listing.source.read(record.locator))), side) for record in records
        ]
        labels = [listing.classes.index(str(record.label)) for record in records]
        return SplitImages(np.stack(pixels), np.array(labels, np.int64))

    return part("train"), part("test")


def _resized(image: Image.Image, side: int) -> Pixels:
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.uint8)


_SOURCES: dict[str, Callable[[int, Path], tuple[SplitImages, SplitImages]]] = {
    "digits": _digits,
    "intel-scenes": _scenes,
    "cifar-10": _cifar,
}
