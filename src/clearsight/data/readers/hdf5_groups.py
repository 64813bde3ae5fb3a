"""HDF5 files with one dataset per image in groups: <class>/<key>, or train/<class>/<key> with test/ beside it.

The groups follow the rules of class folders. An image is an encoded file or an array of pixels, (H, W) or (H, W, C).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.dataset import Listing, ReadOptions, StoredPixels
from clearsight.core.errors import BadData, BadImage
from clearsight.data.readers.support.hdf5_file import Hdf5File, encoded_image, hdf5_files, holds_encoded
from clearsight.data.readers.support.layout import Node, interpret

_LEAST_SIDE = 8  # pixels
_DEPTH = 20  # groups; real data are never so deep, links that lead around are
_FIRST = 20  # datasets that are looked at


class Hdf5GroupsSource:
    """Images by the path of their dataset. Reads are serial (HDF5 allows no more)."""

    def __init__(self, file: Hdf5File) -> None:
        self._file = file

    def read(self, locator: str) -> bytes | StoredPixels:
        """Return the encoded image or its pixels; BadImage when there is none, or the file is damaged there."""
        with self._file.reading(locator) as handle:
            dataset = handle.get(locator)
            if not hasattr(dataset, "dtype"):
                raise BadImage(locator, "the file has no such dataset")
            return encoded_image(dataset) if holds_encoded(dataset) else np.asarray(dataset[()])

    def stamp(self, locator: str) -> str:
        """Return size and time of the file, and the path in it."""
        return f"{self._file.stamp}-{locator}"


class Hdf5GroupsReader:
    """One HDF5 file of groups."""

    name = "hdf5-groups"

    def recognises(self, path: Path) -> bool:
        """Return True if the first datasets of the first group with any are images."""
        try:
            if not path.is_file() or not hdf5_files(path):
                return False
            file = Hdf5File(path)
            with file.listing() as handle:
                return _first_is_image(handle, 0)
        except (OSError, BadData):
            return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every dataset that is an image, with the class of its group."""
        if not path.is_file() or not hdf5_files(path):
            raise BadData(str(path), "it is not an HDF5 file")
        file, root = Hdf5File(path), Node()
        with file.listing() as handle:
            _fill(handle, root, 0)
        layout = interpret(root, str(path))
        return Listing(records=layout.records, source=Hdf5GroupsSource(file), format=self.name, notices=layout.notices)


def _first_is_image(group: Any, depth: int) -> bool:
    import h5py

    for key in list(group)[:_FIRST]:
        item = group.get(key)
        if isinstance(item, h5py.Group) and depth < _DEPTH and _first_is_image(item, depth + 1):
            return True
        if depth and _is_image(item):  # at the top there is no class
            return True
    return False


def _is_image(item: Any) -> bool:
    import h5py

    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "uifbSVO" or item.shape is None:
        return False
    shape = item.shape
    if len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,), (4,)):
        return min(shape[:2]) >= _LEAST_SIDE and item.dtype.kind in "uifb" and (len(shape) == 3 or item.dtype == "u1")
    return holds_encoded(item)


def _fill(group: Any, node: Node, depth: int) -> None:
    import h5py

    for key in group:
        item = group.get(key)
        if isinstance(item, h5py.Group) and depth < _DEPTH:
            _fill(item, node.folders.setdefault(key, Node(node.join(key))), depth + 1)
        elif _is_image(item):
            node.files.append(key)


READER = Hdf5GroupsReader()
