"""Datasets from a path: listed, split, scanned; and the order, augmentation and memory with which a run loads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.dataset import Dataset, Listing, ReadOptions
from clearsight.core.errors import BadValue
from clearsight.core.machine import cores
from clearsight.core.preprocess import PRESETS, Augment
from clearsight.core.recipe import DataSection, Recipe
from clearsight.data.loader import LoadPlan
from clearsight.data.readers import open_listing
from clearsight.data.scan import Scan, scan_images
from clearsight.data.splits import default_valid_fraction, make_splits
from clearsight.data.value_range import choose_value_range, value_notices
from clearsight.workflow.paths import Paths

if TYPE_CHECKING:  # imports torch
    from clearsight.training.distributed import World

Progress = Callable[[str, int, int], None]  # (activity, done, total)


def quiet(activity: str, done: int, total: int) -> None:
    """Show no progress."""


def list_dataset(path: Path, section: DataSection, seed: int) -> Dataset:
    """Return the dataset at `path` with its splits made; no image is opened."""
    listing = open_listing(path, section.format, read_options(section))
    return make_splits(listing, path=str(path), recipe=with_valid_fraction(section, listing), seed=seed)


def open_dataset(path: Path, recipe: Recipe) -> tuple[Dataset, Recipe]:
    """Return the dataset of `list_dataset`, and the recipe with the share of images that were held out to validate."""
    listing = open_listing(path, recipe.data.format, read_options(recipe.data))
    section = with_valid_fraction(recipe.data, listing)
    data = make_splits(listing, path=str(path), recipe=section, seed=recipe.train.seed)
    return data, recipe.replace(valid_fraction=section.valid_fraction)


def with_valid_fraction(section: DataSection, listing: Listing) -> DataSection:
    """Return the section with `valid_fraction` set: as it is, else by the number of images that the data offer."""
    if section.valid_fraction is not None:
        return section
    # Those that validation images would be taken from.
    images = sum(record.label is not None and record.split in (None, "train") for record in listing.records)
    return section.model_copy(update={"valid_fraction": default_valid_fraction(min(images, section.limit or images))})


def scan_dataset(dataset: Dataset, section: DataSection, paths: Paths, progress: Progress = quiet) -> Scan:
    """Decode every image once; the result comes from the cache when the files have not changed."""
    return scan_images(
        dataset,
        max_pixels=section.max_pixels,
        workers=loader_workers(section),
        cache=paths.cache,
        progress=lambda done, total: progress("checking images", done, total),
    )


def with_value_range(dataset: Dataset, scan: Scan, section: DataSection) -> tuple[Dataset, DataSection]:
    """Return the dataset with notices about its range of values, and the section with the range that it is read by."""
    value_range = choose_value_range(dataset, scan, section.value_range)
    notices = value_notices(dataset, scan, value_range, section.value_range)
    return dataset.noting(*notices), section.model_copy(update={"value_range": value_range})


def check_metric(flag: str, metric: str, data: Dataset) -> None:
    """Raise BadValue for a metric that the validation images cannot have. flag: that chose it, such as "--monitor".

    roc_auc is the only one that needs more than some images: it ranks those of one class against those of the other.
    """
    if metric != "roc_auc":
        return
    if len(data.classes) != 2:
        raise BadValue(f"{flag} roc_auc", f"it needs two classes, and this dataset has {len(data.classes)}")
    valid = data.counts().get("valid", {})
    counts = {name: valid.get(name, 0) for name in data.classes}
    if not all(counts.values()):
        listed = " and ".join(f"{number:,} of {name!r}" for name, number in counts.items())
        problem = f"it needs validation images of both classes, and there are {listed}"
        fix = "Add images of the missing class, raise --valid-fraction, or use macro_f1."
        raise BadValue(f"{flag} roc_auc", problem, fix=fix)


def read_options(section: DataSection) -> ReadOptions:
    """Return the settings of how a table or a folder is read."""
    return ReadOptions(
        label_column=section.label_column,
        id_column=section.id_column,
        split_column=section.split_column,
        group_column=section.group_column,
        image_folder=section.image_folder,
        class_level=section.class_level,
    )


def loader_workers(section: DataSection) -> int:
    """Return the number of threads that read and decode: the setting, by default one per core and at most eight."""
    # Beyond eight the disk is the limit, and more threads only hold more decoded images in memory.
    return section.workers if section.workers is not None else min(8, cores())


def train_plan(recipe: Recipe, world: World) -> LoadPlan:
    """Return how training images are drawn: augmented, and shuffled or balanced by class."""
    return LoadPlan(
        batch_size=recipe.train.batch_size,
        augment=PRESETS[recipe.data.resolved_augment],
        # Both orders draw as many images as there are, so that an epoch has the same number of steps.
        order="balanced" if recipe.data.sampling == "balanced" else "shuffled",
        seed=recipe.train.seed,
        workers=loader_workers(recipe.data),
        max_pixels=recipe.data.max_pixels,
        rank=world.rank,
        world=world.size,
        memory_bytes=memory_for_pixels(world) if recipe.data.keep_pixels else 0,  # 0 keeps nothing
    )


def valid_plan(recipe: Recipe, world: World) -> LoadPlan:
    """Return how images are drawn for evaluation: as they are, in order."""
    return replace(train_plan(recipe, world), augment=Augment(), order="sequential")


def memory_for_pixels(world: World) -> int:
    """Return the bytes that a process may use to keep decoded images: its share of a quarter of the free memory.

    The other three quarters stay free for activations, for the page cache, and for whatever else runs here.
    """
    import psutil

    return int(psutil.virtual_memory().available // 4 // world.size)
