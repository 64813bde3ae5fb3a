"""NumPy files, .npz and .npy: `x_train` + `y_train`, `train_images` + `train_labels`, `images` + `labels`.

No pickle is loaded. An array that is stored as it is in memory is mapped from the file; a compressed one is unpacked
once, on the first read, to an anonymous temporary file that is deleted with the process.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers.support.array_listing import list_arrays
from clearsight.data.readers.support.arrays import StoredArray, image_arrays
from clearsight.data.readers.support.files import file_stamp
from clearsight.data.readers.support.spool import MAX_BYTES, Spool

SUFFIXES = (".npz", ".npy")
_CHUNK = 1 << 20
_DAMAGE = (OSError, ValueError, EOFError, struct.error, zlib.error, zipfile.BadZipFile, NotImplementedError, KeyError)


class NumpyArraysReader:
    """A .npz file, a .npy file with its labels beside it, or a folder of such files."""

    name = "numpy"

    def recognises(self, path: Path) -> bool:
        if path.is_file():
            return path.suffix.lower() in SUFFIXES
        try:
            return any(image_arrays(_arrays(file)) for file in _files(path))
        except (OSError, BadData):
            return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every image of every array; an array without labels goes to the predict split."""
        files = _files(path)
        if not files:
            raise BadData(str(path), "there is no NumPy file (.npz or .npy)")
        beside = _files(path.parent) if path.suffix.lower() == ".npy" and path.is_file() else []
        arrays = [array for file in files for array in _arrays(file)]
        for file in beside:
            if file != path:
                with contextlib.suppress(BadData):  # nobody named it
                    arrays += _arrays(file)
        return replace(list_arrays(path, arrays, files, options), format=self.name)


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    return [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]


def _arrays(path: Path) -> list[StoredArray]:
    """Return the arrays of a file; BadData when it is damaged or holds a pickle."""
    try:
        with path.open("rb") as stream:
            is_zip = stream.read(4) == b"PK\x03\x04"
        return list(_members(path)) if is_zip else [_plain(path)]
    except _DAMAGE as error:
        raise BadData(str(path), f"it cannot be read as a NumPy file ({error})") from None


def _plain(path: Path) -> StoredArray:
    with path.open("rb") as stream:
        header = _Header.of(stream, path, path.stem)
        offset = stream.tell()
    place = _Place(path, offset, header)
    return StoredArray(path, path.stem, header.shape, header.dtype, place.read, file_stamp(path))


def _members(path: Path) -> Iterator[StoredArray]:
    stamp = file_stamp(path)
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            key = info.filename.removesuffix(".npy")
            if key == info.filename:
                continue
            with packed.open(info) as stream:
                header = _Header.of(stream, path, key)
                length = stream.tell()
            is_stored = info.compress_type == zipfile.ZIP_STORED
            place = _Place(path, _data_offset(path, info) + length if is_stored else 0, header)
            place.member = "" if is_stored else info.filename
            yield StoredArray(path, key, header.shape, header.dtype, place.read, f"{stamp}-{info.CRC:08x}")


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        name, extra = struct.unpack_from("<HH", stream.read(30), 26)  # their lengths end the header of 30 bytes
    return int(info.header_offset + 30 + name + extra)


@dataclass(frozen=True)
class _Header:
    """Header of an array as NumPy stores it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, stream: IO[bytes], path: Path, key: str) -> _Header:
        """Read it; the stream then stands at the values. Raises BadData for a pickle."""
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            fix = "Store it with a plain dtype, such as labels.astype(str)."
            problem = f"{key} is an array of Python objects, which NumPy stores as a pickle, and no pickle is loaded"
            raise BadData(str(path), problem, fix=fix)
        if dtype.itemsize * int(np.prod(shape, dtype=object)) > MAX_BYTES:
            raise BadData(str(path), f"{key} has the shape {shape}, which is more than {MAX_BYTES >> 30} GiB")
        return cls(shape, fortran, dtype)


@dataclass
class _Place:
    """Place of an array's values: at `offset` of the file, or in a compressed `member` of it."""

    path: Path
    offset: int
    header: _Header
    member: str = ""
    _values: npt.NDArray[Any] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, place: Any) -> npt.NDArray[Any]:
        """Return a copy of the values at an index, a slice, or `...`."""
        with self._lock:
            if self._values is None:
                self._values = self._mapped()
        return np.array(self._values[place])

    def _mapped(self) -> npt.NDArray[Any]:
        shape = self.header.shape
        order: Literal["F", "C"] = "F" if self.header.fortran else "C"
        if 0 in shape:
            return np.empty(shape, self.header.dtype)
        try:
            if not self.member:
                return np.memmap(self.path, self.header.dtype, "r", self.offset, shape, order)
            with self._unpacked() as stream:  # the mapping outlives it
                return np.memmap(stream, self.header.dtype, "r", 0, shape, order)
        except _DAMAGE as error:
            raise BadData(str(self.path), f"the array {self.member} cannot be read ({error})") from None

    def _unpacked(self) -> IO[bytes]:
        """Return a temporary file with the values; no more is unpacked than the header declares."""
        left = self.header.dtype.itemsize * int(np.prod(self.header.shape, dtype=object))
        spool = Spool(self.path)
        with zipfile.ZipFile(self.path) as packed, packed.open(self.member) as stream:
            _Header.of(stream, self.path, self.member)
            while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
                spool.append(chunk)
                left -= len(chunk)
        if left:
            raise ValueError("it ends early")
        spool.stream.flush()
        return spool.stream


READER = NumpyArraysReader()
