"""Arrays of a file as a dataset: which of them are images, which are their labels, and why an array is neither.

It works on names, shapes and dtypes, so HDF5 and NumPy files follow the same rules. Values are read on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Split, StoredPixels
from clearsight.core.errors import BadImage
from clearsight.data.containers import sniff
from clearsight.data.readers.support.split_names import split_in

_LEAST_SIDE = 8  # pixels; smaller ones are boxes, keypoints or kernels
_CHANNELS = (1, 3, 4)  # gray, RGB, RGBA


@dataclass(frozen=True)
class StoredArray:
    """Array of a file. key: its path there, such as "train/images".

    read: returns the values at an index or slice of the first axis, or all of them for `...`; it may be called from
    any thread, and raises BadData or BadImage where the file is damaged.  stamp: changes with the file.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], npt.NDArray[Any]]
    stamp: str

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def group(self) -> str:
        """Return the key without its last part."""
        return self.key.rpartition("/")[0]

    @property
    def split(self) -> Split | None:
        """Return the split that the key names, else the one that the file's name does."""
        return split_in(self.key) or split_in(self.file.stem)

    def __str__(self) -> str:
        return f"{self.key} ({', '.join(map(str, self.shape))}) {self.dtype}"


@dataclass(frozen=True)
class ImageArray:
    """An array of images. axes: "HWC", "CHW" or "HW" of one image, or "encoded" for the bytes of image files."""

    array: StoredArray
    axes: str

    @property
    def count(self) -> int:
        return self.array.shape[0]

    def read(self, index: int, locator: str) -> bytes | StoredPixels:
        """Return an image as `decode` takes it; BadImage when the file is damaged there."""
        try:
            image = self.array.read(index)  # one image: the array may not fit in memory
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BadImage(locator, f"{self.array.file.name} cannot be read there ({error})") from None
        if self.axes == "encoded":
            return _bytes(image)
        return np.asarray(image).transpose(1, 2, 0) if self.axes == "CHW" else np.asarray(image)


class ArraySource:
    """Images by array and index: the locator is the array's name, a slash, and the index."""

    def __init__(self, arrays: dict[str, ImageArray]) -> None:
        self._arrays = arrays

    def read(self, locator: str) -> bytes | StoredPixels:
        """Return one image as it is stored; raises BadImage when there is none, or the file is damaged there."""
        name, _, index = locator.rpartition("/")
        images = self._arrays.get(name)
        if images is None or not index.isdecimal() or int(index) >= images.count:
            raise BadImage(locator, "there is no such image")
        return images.read(int(index), locator)

    def stamp(self, locator: str) -> str:
        """Return size and time of the file, and the place in it."""
        images = self._arrays.get(locator.rpartition("/")[0])
        return f"{images.array.stamp}-{locator}" if images else "missing"


def image_arrays(arrays: Sequence[StoredArray]) -> list[ImageArray]:
    """Return the arrays that have the shape of images, in the order given."""
    found = ((array, _axes(array)) for array in arrays)
    return [ImageArray(array, axes) for array, axes in found if axes]


def not_images(arrays: Sequence[StoredArray]) -> str:
    """Return what is wrong with arrays of which none holds images, as the end of a sentence."""
    for array in arrays:
        if len(array.shape) == 2 and array.dtype.kind in "uifb" and array.shape[1] >= _LEAST_SIDE**2:
            rows = f"{array.key} is {array.shape} {array.dtype}: rows of {array.shape[1]:,} numbers, not images"
            return f"{rows}; reshape it to (N, height, width, channels){_square(array.shape[1])}"
        if len(array.shape) == 4 and array.shape[2] in _CHANNELS and min(array.shape[:2]) >= _LEAST_SIDE:
            return f"{array.key} is {array.shape}: the images must be along its first axis, not along its last"
    return "no array in it has the shape of images, (N, H, W), (N, H, W, C) or (N, C, H, W)"


def _square(numbers: int) -> str:
    for channels in _CHANNELS:
        side = round((numbers / channels) ** 0.5)
        if side * side * channels == numbers:
            return f", perhaps (N, {side}, {side}, {channels})"
    return ""


def _axes(array: StoredArray) -> str:
    """Return the axes of an image of the array, "" for an array that is none of images."""
    shape = array.shape
    if not shape or not shape[0]:
        return ""
    if len(shape) == 1:
        return "encoded" if array.dtype.kind in "OSV" and _is_encoded(array) else ""
    if array.dtype.kind not in "uifb":
        return ""
    if len(shape) == 3 and min(shape[1:]) >= _LEAST_SIDE:
        return "HW"
    if len(shape) != 4:
        return ""
    if shape[3] in _CHANNELS and min(shape[1:3]) >= _LEAST_SIDE:
        return "HWC"
    return "CHW" if shape[1] in _CHANNELS and min(shape[2:]) >= _LEAST_SIDE else ""


def _is_encoded(array: StoredArray) -> bool:
    try:
        return sniff(_bytes(array.read(0))) is not None
    except (BadImage, OSError, ValueError, TypeError):
        return False


def _bytes(value: Any) -> bytes:
    """Return the bytes of an encoded image: a bytes string, an opaque value, or uint8 numbers."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "O" and value.shape == ():
        value = value[()]
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return np.asarray(value).tobytes()
