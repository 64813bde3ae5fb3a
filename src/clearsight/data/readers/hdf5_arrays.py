"""HDF5 files of pixel arrays: (N, H, W, C) uint8 with labels (N,).

Images and labels are matched by name: `images` + `labels`, `x_train` + `y_train`, `train/images` + `train/labels`,
`train_set_x` + `train_set_y`. A dataset of class names (`classes`, `list_classes`, `label_names`) is used when there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.dataset import Listing, Pixels, ReadOptions, Record
from clearsight.core.errors import BadData, BadImage
from clearsight.data.readers.support.hdf5_file import SUFFIXES, Hdf5File, hdf5_files
from clearsight.data.readers.support.split_names import split_in

_HEAD = 1000  # rows that are looked at for one-hot labels
_CLASS_NAMES = re.compile(r"class(es)?_?names?|label_?names?|classes|categories")


@dataclass(frozen=True)
class _Array:
    """A dataset of images; `first` is the axis of the channels when it comes before the height."""

    file: Hdf5File
    key: str
    count: int
    first: bool
    numbers: str


class Hdf5ArraysSource:
    """Pixels by array and index. Reads of a file are serial (HDF5 allows no more)."""

    def __init__(self, arrays: dict[str, _Array]) -> None:
        self._arrays = arrays

    def read(self, locator: str) -> Pixels:
        """Return (H, W, 3) uint8; gray is repeated. Raises BadImage when the file is damaged there."""
        name, _, index = locator.rpartition("/")
        array = self._arrays.get(name)
        if array is None or not index.isdecimal() or int(index) >= array.count:
            raise BadImage(locator, "there is no such image")
        with array.file.reading(locator) as handle:
            pixels = np.asarray(handle[array.key][int(index)])  # one image: the array may not fit in memory
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        elif array.first:
            pixels = pixels.transpose(1, 2, 0)
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def stamp(self, locator: str) -> str:
        """Return size and time of the file, and the place in it."""
        array = self._arrays.get(locator.rpartition("/")[0])
        return f"{array.file.stamp}-{locator}" if array else "missing"


class Hdf5ArraysReader:
    """A file of arrays, or a folder of such files (train.h5, test.h5)."""

    name = "hdf5-arrays"

    def recognises(self, path: Path) -> bool:
        """Return True if an HDF5 file holds an array of images, or is damaged where nothing else can be the data."""
        found, damaged = [], False
        for file in hdf5_files(path):
            try:
                found += _images(Hdf5File(file))
            except (OSError, BadData):
                damaged = True  # `read` says what is wrong with it
        if damaged and not found:
            return path.is_file() or all(entry.suffix.lower() in (*SUFFIXES, ".csv") for entry in path.iterdir())
        # Float arrays of a named file are an error that `read` explains; in a folder they are more likely weights.
        return any(array.numbers == "uint8" or path.is_file() for array in found)

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every image of every array; an array without labels goes to the predict split."""
        files = hdf5_files(path)
        if not files:
            raise BadData(str(path), "there is no HDF5 file")
        arrays: dict[str, _Array] = {}
        records: list[Record] = []
        classes: tuple[str, ...] = ()
        for name in files:
            file = Hdf5File(name)
            names = _names(file)
            for array in _images(file):
                if array.numbers != "uint8":
                    problem = f"dataset {array.key} is {array.numbers}, images must be uint8 in 0..255"
                    raise BadData(str(file.path), problem, fix="Scale and store it as uint8.")
                prefix = array.key if len(files) == 1 else f"{name.name}/{array.key}"
                arrays[prefix] = array
                labels = _labels(array, names, options)
                split = split_in(array.key) or split_in(name.stem) if labels else "predict"
                records += [
                    Record(locator=f"{prefix}/{i}", label=label, split=split)
                    for i, label in enumerate(labels or [None] * array.count)
                ]
            classes = classes or names
        if not records:
            raise BadData(str(path), "no dataset in it is an array of images (N, H, W, C) uint8")
        # Declared names fix the order of classes, unless labels go beyond them (numbers without a name).
        fixed = classes if {record.label for record in records} - {None} <= set(classes) else ()
        return Listing(records=tuple(records), source=Hdf5ArraysSource(arrays), format=self.name, classes=fixed)


def _datasets(handle: Any, depth: int = 2) -> list[Any]:  # train/images is two deep; more is not a data set
    import h5py

    found = []
    for key in handle:
        item = handle[key]
        if isinstance(item, h5py.Dataset):
            found.append(item)
        elif isinstance(item, h5py.Group) and depth > 1:
            found.extend(_datasets(item, depth - 1))
    return found


def _key(dataset: Any) -> str:
    return str(dataset.name).lstrip("/")


def _images(file: Hdf5File) -> list[_Array]:
    """Return the datasets of a file that have the shape of images."""
    found = []
    with file.listing() as handle:
        for dataset in _datasets(handle):
            shape: tuple[int, ...] = dataset.shape or ()
            last, first = shape[3:] in ((1,), (3,)), len(shape) == 4 and shape[1] in (1, 3)
            # Under 8 pixels: boxes, not images.
            gray = len(shape) == 3 and dataset.dtype == np.uint8 and min(shape[1:]) >= 8
            if not (gray or last or first) or dataset.dtype.kind not in "uif":  # floats: an error says to scale
                continue
            found.append(_Array(file, _key(dataset), shape[0], first and not last, str(dataset.dtype)))
    return found


def _names(file: Hdf5File) -> tuple[str, ...]:
    """Return the class names that the file declares, in order, or ()."""
    with file.listing() as handle:
        for dataset in _datasets(handle):
            if _CLASS_NAMES.search(_key(dataset).lower()) and dataset.ndim == 1 and dataset.dtype.kind in "SO":
                return tuple(_word(value) for value in dataset[()])
    return ()


def _word(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _labels(array: _Array, names: tuple[str, ...], options: ReadOptions) -> list[str] | None:
    """Return one class name per image, None when no dataset of labels belongs to the array."""
    with array.file.listing() as handle:
        fitting = [dataset for dataset in _datasets(handle) if _fits(dataset, array)]
        if options.label_column is not None:
            column = options.label_column
            fitting = [dataset for dataset in fitting if column in (_key(dataset), _key(dataset).rpartition("/")[2])]
        if len(fitting) > 1:
            keys = ", ".join(_key(dataset) for dataset in fitting)
            raise BadData(str(array.file.path), f"{keys} may all be the labels of {array.key}", fix="Keep one of them.")
        if not fitting:
            _refuse_one_hot(handle, array)
            return None
        values = np.asarray(fitting[0][()]).reshape(-1)
    if values.dtype.kind in "SO":
        return [_word(value) for value in values.tolist()]
    if values.dtype.kind == "f":
        if not np.array_equal(values, np.round(values)):  # NaN too
            problem = f"labels of {array.key} are {values.dtype} and not whole: they look like a regression target"
            raise BadData(str(array.file.path), problem, fix="Store whole numbers or names of classes.")
        values = values.astype(np.int64)
    return [names[i] if 0 <= i < len(names) else str(i) for i in values.tolist()]


def _refuse_one_hot(handle: Any, array: _Array) -> None:
    """Raise BadData if a dataset beside the images holds rows (N, K) of 0 and 1."""
    for dataset in _datasets(handle):
        beside = _key(dataset).rpartition("/")[0] == array.key.rpartition("/")[0]
        same_split = split_in(_key(dataset)) == split_in(array.key)
        if beside and same_split and dataset.ndim == 2 and len(dataset) == array.count and dataset.dtype.kind in "uifb":
            head = np.asarray(dataset[:_HEAD])
            if head.shape[1] > 1 and np.isin(head, (0, 1)).all():
                several = bool((head.sum(axis=1) > 1).any())
                kind = "several classes per image (multi-label)" if several else "one-hot labels"
                fix = "clearsight trains one class per image." if several else "Store labels.argmax(axis=1)."
                raise BadData(str(array.file.path), f"dataset {_key(dataset)} looks like {kind}", fix=fix)


def _fits(dataset: Any, array: _Array) -> bool:
    """Return True if a dataset has one value per image and belongs to the same group and split."""
    same_split = split_in(_key(dataset)) == split_in(array.key)
    same_group = _key(dataset).rpartition("/")[0] == array.key.rpartition("/")[0]
    shaped = dataset.shape in ((array.count,), (array.count, 1), (1, array.count))
    return bool(same_split and same_group and shaped and not _CLASS_NAMES.search(_key(dataset).lower()))


READER = Hdf5ArraysReader()
