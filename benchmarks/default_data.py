"""The data of benchmarks/default_recipe.py: real datasets as class folders, so that all programs read the same files.

Each dataset becomes train/CLASS/ and test/CLASS/. Images that a dataset gives as a validation split go to train: every
program holds out for itself what it wants. isic-2024 has no labelled test images; its validation split is the test.
"""

from __future__ import annotations

import csv
import hashlib
import io
import pickle
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from measured import shared
from PIL import Image

Labelled = Iterator[tuple[str, str, str, bytes]]  # split, class, file name, encoded image


def intel_scenes(folder: Path) -> Labelled:
    for split in ("train", "test"):
        for file in sorted((folder / f"seg_{split}").glob("*/*")):
            yield split, file.parent.name, file.name, file.read_bytes()


def dog_breeds(folder: Path) -> Labelled:
    for split in ("train", "valid", "test"):
        for file in sorted((folder / split).glob("*/*")):
            yield "train" if split == "valid" else split, file.parent.name, file.name, file.read_bytes()


def isic_2024(folder: Path) -> Labelled:
    for split, name in (("train", "train_split"), ("test", "val_split")):
        with h5py.File(folder / f"{name}-image.hdf5") as images, (folder / f"{name}.csv").open() as table:
            for row in csv.DictReader(table):
                yield split, f"target{row['target']}", f"{row['isic_id']}.jpg", bytes(images[row["isic_id"]][()])


def cifar_10(folder: Path) -> Labelled:
    for file in sorted((folder / "cifar-10-batches-py").glob("*_batch*")):
        batch = pickle.loads(file.read_bytes(), encoding="latin1")  # our own data
        for label, name, row in zip(batch["labels"], batch["filenames"], batch["data"], strict=True):
            png = io.BytesIO()
            Image.fromarray(np.asarray(row, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)).save(png, "PNG")
            split = "test" if file.name.startswith("test") else "train"
            yield split, f"class{label}", Path(name).with_suffix(".png").name, png.getvalue()


DATASETS: dict[str, Callable[[Path], Labelled]] = {
    "intel-scenes": intel_scenes,
    "dog-breeds": dog_breeds,
    "isic-2024": isic_2024,
    "cifar-10": cifar_10,
}


def build(name: str, size: int, seed: int, target: Path) -> Path:
    """Return the folder of a dataset, written where it is missing.

    size: training images in all, drawn by class in their shares and by `seed`; 0 for all of them. The test images are
    always the whole test split.
    """
    folder = target / f"{name}-{size or 'all'}-{seed if size else 0}"
    if folder.exists():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    images = list(DATASETS[name](shared() / "data" / name))
    groups = defaultdict(list)
    for image in images:
        groups[image[:2]].append(image)
    total = sum(len(group) for (split, _), group in groups.items() if split == "train")
    for (split, _), group in groups.items():
        group.sort(key=lambda image: hashlib.sha256(f"{seed} {image[2]}".encode()).digest())
        count = len(group) if split == "test" or not size else max(2, round(size * len(group) / total))
        for _, label, file, content in group[:count]:
            (part / split / label).mkdir(parents=True, exist_ok=True)
            (part / split / label / file).write_bytes(content)
    part.rename(folder)
    return folder
