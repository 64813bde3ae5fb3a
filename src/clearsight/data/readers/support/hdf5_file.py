"""HDF5 files opened for reading, from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clearsight.core.errors import BadData, BadImage
from clearsight.data.containers import sniff
from clearsight.data.readers.support.files import file_stamp

SUFFIXES = (".hdf5", ".h5", ".hdf")
_HEAD = 16  # bytes that tell an image file from other values
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError)  # what h5py raises in damaged files
_MAGIC = b"\x89HDF\r\n\x1a\n"


class Hdf5File:
    """A file that is opened on first use, once per process (handles do not survive a fork), and read under a lock."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp = path, file_stamp(path)
        self.lock = threading.RLock()  # HDF5 reads with one thread at a time
        self._handle: Any = None
        self._process = 0

    def open(self) -> Any:
        """Return the h5py.File; hold `lock` while using it. Raises BadData when the file is damaged."""
        if self._process != os.getpid():
            import h5py  # late: it takes long to import, and few data sets are HDF5

            try:
                self._handle = h5py.File(self.path, "r")
            except OSError as error:
                raise self._damaged(error) from None
            self._process = os.getpid()
        return self._handle

    @contextmanager
    def listing(self) -> Iterator[Any]:
        """Yield the h5py.File under the lock; damage becomes BadData of the file."""
        try:
            with self.lock:
                yield self.open()
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> BadData:
        problem = f"it is damaged, cut short, or no HDF5 file ({error})"
        return BadData(str(self.path), problem, fix="Copy or download it again.")

    @contextmanager
    def reading(self, locator: str) -> Iterator[Any]:
        """Yield the h5py.File under the lock; damage becomes BadImage of the image at `locator`."""
        try:
            with self.lock:
                yield self.open()
        except _DAMAGE as error:
            raise BadImage(locator, f"{self.path.name} cannot be read there ({error})") from None


def encoded_image(dataset: Any) -> bytes:
    """Return the bytes of an encoded image: a scalar string, opaque value, or one row of uint8.

    Fixed-length strings keep their trailing zeros.
    """
    import h5py

    if dataset.dtype.kind == "O":
        value = dataset[()] if dataset.shape == () else dataset[0]
        return bytes(value) if isinstance(value, (bytes, bytearray)) else np.asarray(value, dtype=np.uint8).tobytes()
    values = np.empty(dataset.shape, dtype=dataset.dtype)
    if dataset.shape:
        dataset.read_direct(values)
    else:  # h5py's own scalar reading strips trailing zeros, which may be the end of an image
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, dataset.id.get_type())
    return values.tobytes()


def holds_encoded(dataset: Any) -> bool:
    """Return True if a dataset is one image file by its first bytes."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or not dataset.shape or dataset.size == 0:
        is_scalar = isinstance(dataset, h5py.Dataset) and dataset.shape == () and dataset.dtype.kind in "SVO"
        return is_scalar and sniff(encoded_image(dataset)[:_HEAD]) is not None
    if len(dataset.shape) == 1 and dataset.dtype == np.uint8:
        return sniff(dataset[:_HEAD].tobytes()) is not None
    return dataset.shape == (1,) and dataset.dtype.kind in "SVO" and sniff(encoded_image(dataset)[:_HEAD]) is not None


def hdf5_files(path: Path) -> list[Path]:
    """Return the HDF5 files that `path` is or holds, by name; a file that is named by its path counts by its suffix."""
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    found = sorted(path.iterdir()) if path.is_dir() else []
    return [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file() and _is_hdf5(file)]


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(8) == _MAGIC
    except OSError:
        return False
