"""HDF5 files of pixel arrays, (N, H, W, C), (N, C, H, W) or (N, H, W), with labels (N,), (N, 1) or one-hot (N, K).

Images and labels are matched by shape, group, split and name: `images` + `labels`, `x_train` + `y_train`,
`train/images` + `train/labels`, `train_set_x` + `train_set_y`. Class names are those of a dataset or attribute such as
`classes`. Labels may be attributes, or lie in a second file of the folder; without any, a group per class names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers.support.array_listing import list_arrays
from clearsight.data.readers.support.arrays import StoredArray, image_arrays
from clearsight.data.readers.support.hdf5_file import SUFFIXES, Hdf5File, hdf5_files

_DEPTH = 5  # groups; in more, no dataset of images lies
_MOST = 2_000  # datasets of a file: each is compared with each
_MOST_BESIDE = 32  # files beside a single one that may hold its labels


class Hdf5ArraysReader:
    """A file of arrays, or a folder of such files (train.h5, test.h5)."""

    name = "hdf5-arrays"

    def recognises(self, path: Path) -> bool:
        """Return True for an HDF5 file, whose content `read` explains, and for a folder with arrays of images.

        A folder with nothing but damaged files counts too.
        """
        files, found, damaged = hdf5_files(path), [], False
        if path.is_file():
            return bool(files)
        for file in files:
            try:
                found += image_arrays(_arrays(file))
            except (OSError, BadData):
                damaged = True  # `read` says what is wrong with it
        if damaged and not found:
            return all(entry.suffix.lower() in (*SUFFIXES, ".csv") for entry in path.iterdir())
        # Other numbers than uint8 in a folder are more likely weights.
        return any(images.array.dtype == np.uint8 or images.axes == "encoded" for images in found)

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every image of every array; an array without labels goes to the predict split."""
        files = hdf5_files(path)
        if not files:
            raise BadData(str(path), "there is no HDF5 file")
        arrays = [array for file in files for array in _arrays(file)]
        if path.is_file():  # its labels may be in a file beside it
            for file in hdf5_files(path.parent)[:_MOST_BESIDE]:
                if file != path:
                    arrays += _readable(file)
        return replace(list_arrays(path, arrays, files, options), format=self.name)


def _readable(path: Path) -> list[StoredArray]:
    """Return the arrays of a file that nobody named: none where it is damaged."""
    try:
        return _arrays(path)
    except BadData:
        return []


def _arrays(path: Path) -> list[StoredArray]:
    """Return the datasets of a file, and its attributes that are lists, in the order of their names."""
    file = Hdf5File(path)
    with file.listing() as handle:
        return list(_walk(file, handle))


def _walk(file: Hdf5File, handle: Any) -> Iterator[StoredArray]:
    import h5py

    pending, count = [(handle, 0)], 0
    while pending:
        group, depth = pending.pop(0)
        yield from _attributes(file, group, "")
        for key in group:
            item = group.get(key)  # None for a broken link
            if (count := count + 1) > _MOST:
                problem = f"it holds more than {_MOST:,} datasets, which are too many to be arrays of images"
                raise BadData(str(file.path), problem, fix="Store the images as one array, or in a group per class.")
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                yield _dataset(file, item)
                yield from _attributes(file, item, f"{key}_")
            elif isinstance(item, h5py.Group) and depth < _DEPTH:
                pending.append((item, depth + 1))


def _dataset(file: Hdf5File, dataset: Any) -> StoredArray:
    key = str(dataset.name).lstrip("/")

    def read(place: Any) -> npt.NDArray[Any]:
        with file.lock:
            return np.asarray(file.open()[key][place])

    return StoredArray(file.path, key, tuple(dataset.shape), dataset.dtype, read, file.stamp)


def _attributes(file: Hdf5File, item: Any, prefix: str) -> Iterator[StoredArray]:
    """Yield the attributes of a group or dataset that list values; prefix: the dataset's name and "_"."""
    path = str(item.name).lstrip("/")
    group = path.rpartition("/")[0] if prefix else path
    for name, value in item.attrs.items():
        values = np.asarray(_listed(value))
        if values.ndim == 0 or values.dtype.kind not in "uifbSOU":
            continue
        key = f"{group}/{prefix}{name}".lstrip("/")
        yield StoredArray(file.path, key, values.shape, values.dtype, values.__getitem__, file.stamp)


def _listed(value: Any) -> Any:
    """Return the list in a JSON text: class names, or names by number; other values as they are."""
    if not isinstance(value, str | bytes) or value[:1] not in ("[", "{", b"[", b"{"):
        return value
    try:
        held = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if isinstance(held, dict):
        pairs = held.items() if all(isinstance(number, str) for number in held.values()) else _turned(held)
        return [name for _, name in sorted(pairs, key=lambda pair: (len(str(pair[0])), str(pair[0])))]
    return held if all(isinstance(name, str | int) for name in held) else value


def _turned(names: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(number), name) for name, number in names.items()]


READER = Hdf5ArraysReader()
