"""The feature cache: outputs of a frozen part, computed once and stored.

A frozen prefix gives the same output for the same image in every epoch, every run and every trial. The key of an entry
is everything that the output depends on: the images' content, the prefix's weights, the preprocessing, the view.
An entry is a folder with a manifest, in which the digest of the features is; without it, or with another digest, the
entry does not count. Of several processes that need the same entry at once, one computes it and the others wait; the
kernel releases the lock of a killed process. Features that cannot be stored stay in memory.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from clearsight.core.cache import note_damaged, note_unusable, remove_parts
from clearsight.core.errors import BadData, DiskFull, NotFound
from clearsight.core.files import read_json, write_json
from clearsight.core.part_files import part_folder

FORMAT = 2
_FEATURES, _MANIFEST = "features.bin", "manifest.json"
_HALF_OVER = 16_384  # values per image; larger maps are stored as float16, with a relative error of 5e-4

Prefix = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]  # (N, 3, S, S) -> (N, ...)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureKey:
    """Everything the features of a split depend on."""

    images: str  # digest of the images' content and order
    weights: str  # digest of the prefix's weights and structure
    preprocess: str
    cut: str
    augment: str = ""
    views: int = 1

    def name(self) -> str:
        whole = json.dumps([FORMAT, self.images, self.weights, self.preprocess, self.cut, self.augment, self.views])
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class FeaturePass:
    """Computation of the features of a split. view: returns the batches (N, 3, S, S) of view v in sample order.

    fits_key: asked after the last batch; False if the images are no longer those of the key, so that their features
    must not be stored under it.
    """

    count: int
    views: int
    prefix: Prefix
    view: Callable[[int], Iterable[npt.NDArray[np.float32]]]
    progress: Progress
    fits_key: Callable[[], bool] = lambda: True


@dataclass(frozen=True, slots=True)
class CachedFeatures:
    """Features of a split. values: (V, N, ...), memory-mapped copy-on-write where they are stored.

    pass_seconds: of one pass over the N images when they were computed.  computed: True if that was just now.
    """

    values: npt.NDArray[Any]
    pass_seconds: float
    computed: bool


def cached_features(folder: Path, key: FeatureKey, run: FeaturePass) -> CachedFeatures:
    """Return features from the cache `folder`; missing and damaged ones are computed first.

    Where they cannot be stored, a note says so and they are returned from memory.
    """
    remove_parts(folder)
    entry = folder / key.name()
    if (stored := _stored(entry, run.views)) is not None:
        return stored
    with _locked(entry) as writable:
        if writable and entry.exists() and (stored := _stored(entry, run.views)) is not None:
            return stored  # another process computed them during the wait
        return _compute(entry if writable else None, folder.parent, key, run)


def is_cached(folder: Path, key: FeatureKey) -> bool:
    """Return True if the cache `folder` has these features; whether they are whole is seen when they are read."""
    try:
        return (folder / key.name() / _MANIFEST).is_file()
    except OSError:
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Manifest:
    """Description of stored features. digest: SHA-256 of bytes, shape and dtype.  seconds: of computing all views."""

    shape: tuple[int, ...]
    dtype: str
    digest: str
    seconds: float

    @classmethod
    def read(cls, path: Path) -> _Manifest:
        """Raises NotFound without a manifest; OSError, BadData or ValueError for one that cannot be used."""
        values = read_json(path)
        try:
            manifest = cls(
                shape=tuple(map(int, values["shape"])),
                dtype=str(values["dtype"]),
                digest=str(values["digest"]),
                seconds=float(values["seconds"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(str(error)) from None
        # Checked before they are used: a size that was made up would be allocated.
        if manifest.dtype not in ("float16", "float32") or min(manifest.shape, default=0) < 1:
            raise ValueError("impossible values")
        return manifest

    @property
    def size(self) -> int:
        """Return the bytes of all features."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def seal(self, content: Any) -> str:
        """Return the digest. content: SHA-256 that has seen the bytes."""
        whole = content.copy()
        whole.update(f"{list(self.shape)} {self.dtype}".encode())
        return str(whole.hexdigest())

    def map(self, entry: Path) -> npt.NDArray[Any]:
        """Raises MemoryError where the system refuses so much address space."""
        try:
            return self._map(entry)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(str(error)) from error
            raise

    def _map(self, entry: Path) -> npt.NDArray[Any]:
        return np.memmap(entry / _FEATURES, dtype=self.dtype, mode="c", shape=self.shape)


def _stored(entry: Path, views: int) -> CachedFeatures | None:
    """Return the features of an entry; None where they are missing, or (with a note) cannot be used."""
    path = entry / _MANIFEST
    try:
        manifest = _Manifest.read(path)
        # Read before it is mapped: an error of the disk raises here, and would kill a process that has mapped the file.
        if (entry / _FEATURES).stat().st_size != manifest.size or _sealed(entry, manifest) != manifest.digest:
            raise ValueError("another digest")
        values = manifest.map(entry)
    except (NotFound, OSError, BadData, ValueError) as error:
        if not isinstance(error, NotFound) or entry.is_dir():
            note_damaged(entry, "features")
        return None
    with suppress(OSError):  # a shared cache may be read-only
        os.utime(path)  # marks the entry as used, for those who prune the cache by age
    return CachedFeatures(values, manifest.seconds / views, computed=False)


def _sealed(entry: Path, manifest: _Manifest) -> str:
    with (entry / _FEATURES).open("rb") as stream:
        return manifest.seal(hashlib.file_digest(stream, "sha256"))


@contextmanager
def _locked(entry: Path) -> Iterator[bool]:
    """Keep other processes from computing the entry within the block; yields False if they cannot be kept from it."""
    with ExitStack() as stack:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((entry.parent / f".{entry.name}.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            writable = True
        except OSError as error:
            note_unusable(entry.parent.parent, error)
            writable = False
        yield writable


def _compute(entry: Path | None, cache: Path, key: FeatureKey, run: FeaturePass) -> CachedFeatures:
    """Compute the features of all views and store them in `entry`; None keeps them in memory."""
    start, done = time.monotonic(), 0
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.float32)
    with _FeatureWriter(entry, cache) as writer:
        for view in range(run.views):
            for batch in run.view(view):
                features = run.prefix(batch)
                shape = features.shape[1:]
                dtype = np.dtype(np.float16 if np.prod(shape) > _HALF_OVER else np.float32)
                writer.add(np.ascontiguousarray(features, dtype=dtype))
                done += len(batch)
                run.progress(done, run.count * run.views)
        seconds = time.monotonic() - start
        manifest = _Manifest(shape=(run.views, run.count, *shape), dtype=dtype.name, digest="", seconds=seconds)
        values = writer.stored(manifest, key) if run.fits_key() else None
        if values is None:
            values = writer.in_memory(manifest)
    return CachedFeatures(values, seconds / run.views, computed=True)


class _FeatureWriter:
    """Takes features batch by batch into a file, as they may not fit into memory; into memory where that fails.

    entry: where they are to be stored; None for nowhere.
    """

    def __init__(self, entry: Path | None, cache: Path) -> None:
        self._entry, self._cache, self._stack = entry, cache, ExitStack()
        self._content, self._written = hashlib.sha256(), 0
        self._part = Path()
        self._file: IO[bytes] | None = None
        self._chunks: list[npt.NDArray[np.uint8]] = []  # all that was added, once there is no file

    def __enter__(self) -> _FeatureWriter:
        if self._entry is not None:
            try:
                self._part = self._stack.enter_context(part_folder(self._entry))
                self._file = self._stack.enter_context((self._part / _FEATURES).open("wb"))
            except OSError as error:
                note_unusable(self._cache, error)
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # a full disk, once more at closing
            self._stack.close()

    def add(self, features: npt.NDArray[Any]) -> None:
        raw = features.reshape(-1).view(np.uint8)
        self._content.update(raw.data)
        if self._file is not None:
            try:
                self._file.write(raw.data)
                self._file.flush()
                self._written += len(raw)
            except OSError as error:
                self._leave_file(error)
        if self._file is None:
            self._chunks.append(raw.copy())  # a runtime may use its buffer again

    def stored(self, manifest: _Manifest, key: FeatureKey) -> npt.NDArray[Any] | None:
        """Put the features into their place and return them from there; None where that cannot be done."""
        if self._file is None or self._entry is None:
            return None
        origin = {"cut": key.cut, "images": key.images, "weights": key.weights}
        manifest = replace(manifest, digest=manifest.seal(self._content))
        try:
            os.fsync(self._file.fileno())
            write_json(self._part / _MANIFEST, {**asdict(manifest), **origin})
            shutil.rmtree(self._entry, ignore_errors=True)  # damaged, or of another machine that was as fast
            self._part.rename(self._entry)
        except (OSError, DiskFull) as error:
            self._leave_file(error)
            return None
        return manifest.map(self._entry)

    def in_memory(self, manifest: _Manifest) -> npt.NDArray[Any]:
        if self._file is not None:
            self._read_back()
        return np.concatenate(self._chunks).view(manifest.dtype).reshape(manifest.shape)

    def _leave_file(self, error: OSError | DiskFull) -> None:
        note_unusable(self._cache, error)
        self._read_back()

    def _read_back(self) -> None:
        self._chunks, self._file = [np.fromfile(self._part / _FEATURES, np.uint8, count=self._written)], None
