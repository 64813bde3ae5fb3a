"""The feature cache: what a frozen part computes, computed once and kept.

A frozen prefix gives the same output for the same image in every epoch, every run and every trial. The cache is
keyed by all that the output depends on: the images' content, the prefix's weights, the preprocessing, the view.
Entries are folders written manifest-last; a half-written one is not there. Of several processes that want the same
entry at once, one computes it and the others wait; the kernel frees the lock of one that is killed.
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
_HALF_OVER = 16_384  # values per image; spatial maps above it are kept as float16, which costs 5e-4 relative

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
        """Folder name of the entry."""
        whole = json.dumps([FORMAT, self.images, self.weights, self.preprocess, self.cut, self.augment, self.views])
        return hashlib.sha256(whole.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class FeaturePass:
    """How to compute the features of a split: `view(v)` gives its batches (N, 3, S, S) in sample order."""

    count: int
    views: int
    prefix: Prefix
    view: Callable[[int], Iterable[npt.NDArray[np.float32]]]
    progress: Progress


@dataclass(frozen=True, slots=True)
class CachedFeatures:
    """values: (V, N, ...), memory-mapped copy-on-write.  pass_seconds: what one pass over the N images took when they
    were computed.  computed: whether that was just now."""

    values: npt.NDArray[Any]
    pass_seconds: float
    computed: bool


def cached_features(folder: Path, key: FeatureKey, how: FeaturePass) -> CachedFeatures:
    """Features from the cache `folder`; computed first where they are missing."""
    entry, computed = folder / key.name(), False
    if not (entry / "manifest.json").is_file():
        with _alone(entry):
            if not (entry / "manifest.json").is_file():  # nobody made them while we waited
                _fill(entry, key, how)
                computed = True
    manifest = read_json(entry / "manifest.json")
    os.utime(entry / "manifest.json")  # marks the entry as used, for whoever prunes the cache
    shape = tuple(manifest["shape"])
    values = np.memmap(entry / "features.bin", dtype=manifest["dtype"], mode="c", shape=shape)
    return CachedFeatures(values, manifest.get("seconds", 0.0) / how.views, computed)


def has_features(folder: Path, key: FeatureKey) -> bool:
    """Whether the cache holds the entry already."""
    return (folder / key.name() / "manifest.json").is_file()


@contextmanager
def _alone(entry: Path) -> Iterator[None]:
    """Within the block no other process computes the entry."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (entry.parent / f".{entry.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(entry: Path, key: FeatureKey, how: FeaturePass) -> None:
    part = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=entry.parent))
    try:
        facts = _compute(part / "features.bin", how)
        write_json(part / "manifest.json", {**facts, "cut": key.cut, "images": key.images, "weights": key.weights})
        try:
            part.rename(entry)
        except OSError:
            # Somebody on another machine finished the same entry first, or a damaged one lies there without manifest.
            if not (entry / "manifest.json").is_file():
                shutil.rmtree(entry)
                part.rename(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _compute(path: Path, how: FeaturePass) -> dict[str, Any]:
    began, done = time.monotonic(), 0
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(np.float32)
    with path.open("wb") as out:
        for view in range(how.views):
            for batch in how.view(view):
                features = how.prefix(batch)
                shape = features.shape[1:]
                dtype = np.dtype(np.float16 if np.prod(shape) > _HALF_OVER else np.float32)
                out.write(np.ascontiguousarray(features, dtype=dtype).tobytes())
                done += len(batch)
                how.progress(done, how.count * how.views)
        out.flush()
        os.fsync(out.fileno())
    return {"shape": [how.views, how.count, *shape], "dtype": dtype.name, "seconds": time.monotonic() - began}
