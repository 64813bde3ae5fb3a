"""CIFAR-10 and CIFAR-100 in the original Python batches (Krizhevsky 2009).

The batches are pickles, and a pickle may name any function to call. This unpickler allows five names. Each stands
for code in this file that can make an array of bytes and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from clearsight.core.dataset import Listing, Pixels, ReadOptions, Record, Split
from clearsight.core.errors import BadData, BadImage

_SIDE = 32  # pixels
_MAX_BYTES = 1 << 30  # a batch of CIFAR-100, the largest, has 154 MB
_TEN: dict[str, Split] = {**{f"data_batch_{i}": "train" for i in range(1, 6)}, "test_batch": "test"}
_HUNDRED: dict[str, Split] = {"train": "train", "test": "test"}


class CifarSource:
    """Pixels by batch and row, kept in memory as the batches hold them (3 KiB an image). Safe from any thread."""

    def __init__(self, batches: Mapping[str, Pixels]) -> None:
        self._batches = batches

    def read(self, locator: str) -> Pixels:
        """Return (32, 32, 3) uint8."""
        row = self._row(locator)
        if row is None:
            raise BadImage(locator, "there is no such image")
        # Rows hold the red plane, then green, then blue.
        return np.ascontiguousarray(row.reshape(3, _SIDE, _SIDE).transpose(1, 2, 0))

    def stamp(self, locator: str) -> str:
        """Return a checksum of the pixels: they are in memory anyway."""
        row = self._row(locator)
        return "missing" if row is None else f"{zlib.crc32(row.tobytes()):08x}"

    def _row(self, locator: str) -> Pixels | None:
        batch, _, place = locator.partition("/")
        if batch not in self._batches or not place.isdecimal() or int(place) >= len(self._batches[batch]):
            return None
        return cast(Pixels, self._batches[batch][int(place)])


class CifarReader:
    """The folder `cifar-10-batches-py` or `cifar-100-python`, or the one that holds it; fine labels for CIFAR-100."""

    name = "cifar"

    def recognises(self, path: Path) -> bool:
        return _folder(path) is not None

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every batch that is there; raises BadData for a pickle with other contents."""
        folder = _folder(path)
        if folder is None:
            raise BadData(str(path), "there are no CIFAR batches (data_batch_1 with batches.meta, or train with meta)")
        hundred = (folder / "meta").is_file()
        meta = folder / ("meta" if hundred else "batches.meta")
        names = _load(meta).get("fine_label_names" if hundred else "label_names")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise BadData(str(meta), "it does not list the class names")
        batches: dict[str, Pixels] = {}
        records: list[Record] = []
        for batch, split in (_HUNDRED if hundred else _TEN).items():
            if not (folder / batch).is_file():
                continue
            batches[batch], labels = _batch(folder / batch, "fine_labels" if hundred else "labels", len(names))
            records += [
                Record(locator=f"{batch}/{i:05d}", label=names[label], split=split) for i, label in enumerate(labels)
            ]
        if not records:
            raise BadData(str(folder), "there is no batch beside the class names")
        return Listing(records=tuple(records), source=CifarSource(batches), format=self.name, classes=tuple(names))


def _folder(path: Path) -> Path | None:
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-100-python"):
        if (folder / "batches.meta").is_file() or ((folder / "meta").is_file() and (folder / "train").is_file()):
            return folder
    return None


def _batch(path: Path, key: str, classes: int) -> tuple[Pixels, list[int]]:
    facts = _load(path)
    labels, numbers = facts.get(key), facts.get("data")
    data = numbers.pixels if isinstance(numbers, _Numbers) else None
    if data is None or data.ndim != 2 or data.shape[1] != 3 * _SIDE**2:
        raise BadData(str(path), f"its data are not (N, {3 * _SIDE**2}) uint8")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise BadData(str(path), f"it does not have one entry in {key!r} for each of its {len(data)} images")
    if not all(isinstance(label, int) and 0 <= label < classes for label in labels):
        raise BadData(str(path), f"its {key} are not all whole numbers from 0 to {classes - 1}")
    return data, labels


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise BadData(str(path), "it is over 1 GiB, no CIFAR batch is")
        facts = _Unpickler(io.BytesIO(content), encoding="latin1").load()  # Python 2 wrote them: str is bytes there
    except BadData:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise BadData(str(path), f"it is not a CIFAR batch ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(facts, dict):
        raise BadData(str(path), "it is not a CIFAR batch (no dictionary in it)")
    return facts


class _Numbers:
    """Takes the state of a pickled uint8 array, checked, in place of numpy's own code."""

    pixels: Pixels | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, kind, fortran, raw = state  # as numpy's ndarray.__reduce__ writes it
        if not isinstance(kind, _Bytes) or fortran:
            raise pickle.UnpicklingError("its numbers are not uint8 in row order")
        content = raw.encode("latin1") if isinstance(raw, str) else raw  # the other half of that encoding
        if not isinstance(content, bytes) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("its array is damaged")
        self.pixels = np.frombuffer(content, dtype=np.uint8).reshape(shape)  # no copy: the batch stays as it was read


class _Bytes:
    """Stands for numpy's uint8 type."""

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and flags: they mean nothing for bytes."""


def _dtype(spec: object, *_: object) -> _Bytes:
    if spec != "u1":
        raise pickle.UnpicklingError(f"numbers of type {spec!r} are not allowed")
    return _Bytes()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Numbers(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Numbers(),  # the name since numpy 2
    ("numpy", "ndarray"): "ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,  # how Python 3 writes bytes into old protocols
}


class _Unpickler(pickle.Unpickler):
    # The only way from a pickle to code.
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed")
        return _ALLOWED[module, name]


READER = CifarReader()
