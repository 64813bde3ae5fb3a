"""Datasets from a path: listed, split, scanned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clearsight.core.dataset import ClassMap, Dataset, ReadOptions
from clearsight.core.machine import cores
from clearsight.core.recipe import DataSection
from clearsight.data.readers import open_listing
from clearsight.data.scan import Scan, drop_bad_images, scan_images
from clearsight.data.splits import evaluation_split, has_splits, make_evaluation_splits, make_splits
from clearsight.workflow.paths import Paths

Progress = Callable[[str, int, int], None]  # (activity, done, total)


def quiet(activity: str, done: int, total: int) -> None:
    """Show no progress."""


def list_dataset(path: Path, section: DataSection, seed: int) -> Dataset:
    """Return the dataset at `path` with its splits made; no image is opened."""
    listing = open_listing(path, section.format, read_options(section))
    return make_splits(listing, path=str(path), recipe=section, seed=seed)


def scan_dataset(dataset: Dataset, section: DataSection, paths: Paths, progress: Progress = quiet) -> Scan:
    """Decode every image once; the result comes from the cache when the files have not changed."""
    return scan_images(
        dataset,
        max_pixels=section.max_pixels,
        workers=loader_workers(section),
        cache=paths.cache,
        progress=lambda done, total: progress("checking images", done, total),
    )


def open_for_model(
    path: Path, section: DataSection, classes: ClassMap, split: str | None, paths: Paths, progress: Progress = quiet
) -> Dataset:
    """Return the images at `path` on which to measure a model with `classes`.

    They are those of `split`; by default of the test split, or all of a folder of classes that has no splits.
    """
    listing = open_listing(path, section.format, read_options(section))
    whole = make_evaluation_splits(listing, path=str(path), recipe=section, classes=classes)
    chosen = evaluation_split(whole, split, has_splits(listing))
    return drop_bad_images(chosen, scan_dataset(chosen, section, paths, progress), section.on_bad)


def read_options(section: DataSection) -> ReadOptions:
    """Return the settings for the columns of a table."""
    return ReadOptions(
        label_column=section.label_column, id_column=section.id_column, split_column=section.split_column
    )


def loader_workers(section: DataSection) -> int:
    """Return the number of threads that read and decode: the setting, by default one per core and at most eight."""
    # Beyond eight the disk is the limit, and more threads only hold more decoded images in memory.
    return section.workers if section.workers is not None else min(8, cores())
