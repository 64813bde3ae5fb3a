"""The feature cache: outputs of a frozen part, computed once and stored.

A frozen prefix gives the same output for the same image in every epoch, every run and every trial. The key of an entry
is everything that the output depends on: the images' content, the prefix's weights, the preprocessing, the view.
An entry is a folder whose manifest is written last; without a manifest it does not count. Of several processes that
need the same entry at once, one computes it and the others wait; the kernel releases the lock of a killed process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.files import read_json, write_json

FORMAT = 1
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
    """Computation of the features of a split. view: returns the batches (N, 3, S, S) of view v in sample order."""

    count: int
    views: int
    prefix: Prefix
    view: Callable[[int], Iterable[npt.NDArray[np.float32]]]
    progress: Progress


@dataclass(frozen=True, slots=True)
class CachedFeatures:
    """Features of a split. values: (V, N, ...), memory-mapped copy-on-write.

    pass_seconds: of one pass over the N images when they were computed.  computed: True if that was just now.
    """

    values: npt.NDArray[Any]
    pass_seconds: float
    computed: bool


def cached_features(folder: Path, key: FeatureKey, run: FeaturePass) -> CachedFeatures:
    """Return features from the cache `folder`; missing ones are computed first."""
    entry, computed = folder / key.name(), False
    path = entry / "manifest.json"
    if not path.is_file():
        with _locked(entry):
            if not path.is_file():  # no other process computed them during the wait
                _fill(entry, key, run)
                computed = True
    manifest = read_json(path)
    os.utime(path)  # marks the entry as used, for those who prune the cache by age
    values = np.memmap(entry / "features.bin", dtype=manifest["dtype"], mode="c", shape=tuple(manifest["shape"]))
    return CachedFeatures(values, manifest.get("seconds", 0.0) / run.views, computed)


def is_cached(folder: Path, key: FeatureKey) -> bool:
    """Return True if the cache `folder` has these features."""
    return (folder / key.name() / "manifest.json").is_file()


@contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """Keep other processes from computing the entry within the block."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (entry.parent / f".{entry.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(entry: Path, key: FeatureKey, run: FeaturePass) -> None:
    part = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        written = _compute(part / "features.bin", run)
        write_json(part / "manifest.json", {**written, "cut": key.cut, "images": key.images, "weights": key.weights})
        try:
            part.rename(entry)
        except OSError:
            # Another machine finished the same entry first, or there is a damaged one without a manifest.
            if not (entry / "manifest.json").is_file():
                shutil.rmtree(entry)
                part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _compute(path: Path, run: FeaturePass) -> dict[str, Any]:
    """Write the features of all views to a file, batch by batch: they may not fit into memory."""
    start, done = time.monotonic(), 0
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.float32)
    with path.open("wb") as out:
        for view in range(run.views):
            for batch in run.view(view):
                features = run.prefix(batch)
                shape = features.shape[1:]
                dtype = np.dtype(np.float16 if np.prod(shape) > _HALF_OVER else np.float32)
                out.write(np.ascontiguousarray(features, dtype=dtype).tobytes())
                done += len(batch)
                run.progress(done, run.count * run.views)
        out.flush()
        os.fsync(out.fileno())
    return {"shape": [run.views, run.count, *shape], "dtype": dtype.name, "seconds": time.monotonic() - start}
