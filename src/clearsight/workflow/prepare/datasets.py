"""From a path to a dataset that can be trusted: listed, split, scanned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clearsight.core.dataset import ClassMap, Dataset, ReadOptions
from clearsight.core.machine import cores
from clearsight.core.recipe import DataSection
from clearsight.data.listing import open_listing
from clearsight.data.scan import Scan, drop_bad_images, scan_images
from clearsight.data.splits import evaluation_split, has_splits, make_evaluation_splits, make_splits
from clearsight.workflow.paths import Paths

Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


def quiet(what: str, done: int, total: int) -> None:
    """The progress callback that shows nothing."""


def list_dataset(path: Path, how: DataSection, seed: int) -> Dataset:
    """The dataset at `path` with its splits made, before any image was looked at."""
    listing = open_listing(path, how.format, read_options(how))
    return make_splits(listing, path=str(path), recipe=how, seed=seed)


def scan_dataset(dataset: Dataset, how: DataSection, places: Paths, progress: Progress = quiet) -> Scan:
    """Every image decoded once; answered from the cache when the files have not changed."""
    return scan_images(
        dataset,
        max_pixels=how.max_pixels,
        workers=loader_workers(how),
        cache=places.cache,
        progress=lambda done, total: progress("checking images", done, total),
    )


def open_for_model(
    path: Path, how: DataSection, classes: ClassMap, split: str | None, places: Paths, progress: Progress = quiet
) -> Dataset:
    """The images at `path` that a model with `classes` is to be measured on: the test split, `split`, or all of a
    bare folder of classes."""
    listing = open_listing(path, how.format, read_options(how))
    whole = make_evaluation_splits(listing, path=str(path), recipe=how, classes=classes)
    chosen = evaluation_split(whole, split, has_splits(listing))
    return drop_bad_images(chosen, scan_dataset(chosen, how, places, progress), how.on_bad)


def read_options(how: DataSection) -> ReadOptions:
    """What the recipe says about the columns of a table."""
    return ReadOptions(label_column=how.label_column, id_column=how.id_column, split_column=how.split_column)


def loader_workers(how: DataSection) -> int:
    """Threads that read and decode: as asked, else one per core, eight at most (the disk is the limit beyond)."""
    return how.workers if how.workers is not None else min(8, cores())
