"""Listing of the arrays of images of one or several files, with their labels and splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from clearsight.core.dataset import Listing, Notice, ReadOptions, Record
from clearsight.core.errors import BadChoice, BadData
from clearsight.data.readers.support.array_labels import Labels, belongs, declared_names, find_labels
from clearsight.data.readers.support.arrays import ArraySource, ImageArray, StoredArray, image_arrays, not_images
from clearsight.data.readers.support.split_names import FILLERS, split_in

_IMAGE_WORDS = FILLERS | {"x", "image", "images", "array", "arr", "pixels"}


def list_arrays(path: Path, arrays: Sequence[StoredArray], files: Sequence[Path], options: ReadOptions) -> Listing:
    """Return every image of every array in `files`; an array without labels goes to the predict split.

    arrays: those of the files, and of files beside them, which may hold labels.  Raises BadData without images.
    """
    in_files = [array for array in arrays if array.file in files]
    images = image_arrays(in_files)
    if not images:
        held = ", ".join(map(str, in_files[:6])) or "no array"
        raise BadData(str(path), f"{not_images(in_files)} (it holds {held})")
    beside = [array for array in arrays if array.file not in files]
    arrays = [*in_files, *(array for array in beside if any(belongs(array.file, file) for file in files))]
    shared = declared_names(in_files) or declared_names(arrays)
    own_names = {file: declared_names([array for array in in_files if array.file == file]) for file in files}
    found = [find_labels(each, arrays, own_names[each.array.file] or shared, options) for each in images]
    if options.labels and options.label_column is not None and all(labels.source is None for labels in found):
        taken = {each.array.key for each in images}
        allowed = [array.name for array in arrays if array.key not in taken]
        problem = "no array with one value per image has that name"
        raise BadChoice(f"--label-column {options.label_column}", problem, got=options.label_column, allowed=allowed)
    if all(labels.source is None for labels in found) and (classes := _classes_by_key(images)):
        found = [Labels([name] * each.count, None) for name, each in zip(classes, images, strict=True)]
    return _listing(images, found, len(files) > 1, shared)


def _listing(images: list[ImageArray], found: list[Labels], several: bool, names: tuple[str, ...]) -> Listing:
    records: list[Record] = []
    notices: list[Notice] = []
    source: dict[str, ImageArray] = {}
    for each, labels in zip(images, found, strict=True):
        prefix = f"{each.array.file.name}/{each.array.key}" if several else each.array.key
        source[prefix] = each
        notices += labels.notices
        split = "predict" if labels.names is None else each.array.split
        records += [
            Record(locator=f"{prefix}/{i}", label=label, split=split if label is not None else "predict")
            for i, label in enumerate(labels.names or [None] * each.count)
        ]
    # Declared names fix the order of classes, unless labels go beyond them (numbers without a name).
    fixed = names if {record.label for record in records} - {None} <= set(names) else ()
    return Listing(
        records=tuple(records), source=ArraySource(source), format="arrays", classes=fixed, notices=tuple(notices)
    )


def _classes_by_key(images: list[ImageArray]) -> list[str]:
    """Return the class of each array where every one is named by its class ("cats", "train/dogs/images"), else []."""
    names = []
    for each in images:
        parts = [part for part in each.array.key.split("/") if split_in(part) is None]
        parts = [part for part in parts if not _IMAGE_WORDS.issuperset(re.split(r"[^a-z]+", part.lower()))]
        names.append("/".join(parts))
    by_split = {(each.array.split, name) for name, each in zip(names, images, strict=True)}
    return names if all(names) and len(set(names)) > 1 and len(by_split) == len(names) else []
