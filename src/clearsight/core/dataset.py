"""Dataset as values: its images, their labels and splits, without pixels.

A `Reader` lists what is there, `Dataset` fixes it. Pixels come from `ImageSource.read(locator)` on demand.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadChoice, BadData

Split = Literal["train", "valid", "test", "predict"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test", "predict")

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
# (H, W) or (H, W, 1) gray, (H, W, 3) RGB or (H, W, 4) RGBA, of any real numbers or bool: `decode` makes Pixels of them.
StoredPixels = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Remark about a dataset: a stable `code`, a sentence, and the paths concerned."""

    code: str
    text: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Image as a reader lists it: `label` is the class name, `split` one of SPLITS; None where unknown.

    group: the patient, animal or recording that the image is of; images of a group belong into one split.
    """

    locator: str
    label: str | None  # by name: indices follow once all classes are known
    split: Split | None
    group: str | None = None


@runtime_checkable
class ImageSource(Protocol):
    """Source of the images of a dataset. `read` may be called from several threads at once."""

    def read(self, locator: str) -> bytes | StoredPixels:
        """Return the encoded file, or where the format stores pixels, the array as it is stored (see StoredPixels)."""

    def stamp(self, locator: str) -> str:
        """Return a text that changes when the content does, without reading it: inode, size and times, or a CRC.

        It may change without the content too, as that of a copy does: the content is read then.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Result of a reader. `classes` fixes the class order where the format declares one, else names are sorted.

    group_column: the column that the groups of the records are from, "" where they have none.
    """

    records: tuple[Record, ...]
    source: ImageSource
    format: str
    classes: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    group_column: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """Options for reading a dataset, as the settings of these names; None means: detect.

    labels: False where nobody asks for classes.
    """

    label_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    image_folder: str | None = None
    class_level: int | None = None
    labels: bool = True


@runtime_checkable
class Reader(Protocol):
    """One dataset format.

    `recognises` is cheap (it checks names and the first bytes) and never raises for a path that exists.
    `read` raises BadData with a fix when the format is right and the content is not.
    """

    name: str

    def recognises(self, path: Path) -> bool: ...
    def read(self, path: Path, options: ReadOptions) -> Listing: ...


@dataclass(frozen=True)
class ClassMap:
    """Class names and their indices, frozen. Index i is output i of every model trained on it."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise BadData("classes", f"the name {repeated[0]!r} occurs twice")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, index: int) -> str:
        return self.names[index]

    def index(self, name: str) -> int:
        """Return the index of `name`; raises BadChoice with the nearest name."""
        if name not in self.names:
            raise BadChoice(f"class {name!r}", "the model has no class of that name", got=name, allowed=self.names)
        return self.names.index(name)

    @classmethod
    def of(cls, names: Iterable[str]) -> ClassMap:
        """Return the map of the distinct names, sorted; all whole numbers: as numbers ("2" before "10")."""
        distinct = set(names)
        numeric = all(name.isdecimal() and name.isascii() for name in distinct)
        # The name breaks ties: "1" and "01" are equal as numbers.
        return cls(tuple(sorted(distinct, key=(lambda name: (int(name), name)) if numeric else None)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One image: `id` is unique and stable (relative path or key), `label` an index into the class map or None."""

    id: str
    locator: str
    label: int | None
    split: Split
    digest: str = ""  # of the encoded bytes, set by the scan


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples in a fixed order, their class map, and the source of their images.

    changed: ids of the images that had another content than in the scan when they were read after it; added by
    loaders, and shared by all parts of a dataset.
    """

    samples: tuple[Sample, ...]
    classes: ClassMap
    source: ImageSource = field(repr=False)
    path: str = ""
    format: str = ""
    notices: tuple[Notice, ...] = ()
    changed: set[str] = field(default_factory=set, repr=False, compare=False)

    def split(self, name: Split) -> Dataset:
        return self.only(lambda sample: sample.split == name)

    def only(self, keep: Callable[[Sample], bool]) -> Dataset:
        return replace(self, samples=tuple(sample for sample in self.samples if keep(sample)))

    def noting(self, *notices: Notice) -> Dataset:
        return replace(self, notices=(*self.notices, *notices))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return images per split and class name, splits in the order of SPLITS; unlabelled images under ""."""
        table: dict[str, Counter[str]] = {}
        for sample in self.samples:
            name = "" if sample.label is None else self.classes[sample.label]
            table.setdefault(sample.split, Counter())[name] += 1
        return {
            split: {name: table[split][name] for name in (*self.classes, "") if table[split][name]}
            for split in SPLITS
            if split in table
        }

    def absent(self, split: Split) -> tuple[str, ...]:
        """Return the classes of which a split has no image, in the order of the class map."""
        present = {sample.label for sample in self.samples if sample.split == split}
        return tuple(name for index, name in enumerate(self.classes) if index not in present)

    def labels(self) -> npt.NDArray[np.int64]:
        """Return the labels (N,) in [0, C); raises BadData when a sample has none."""
        missing = next((sample.id for sample in self.samples if sample.label is None), None)
        if missing is not None:
            raise BadData(missing, "it has no label", fix="Choose a labelled split with --split.")
        return np.array([sample.label for sample in self.samples], dtype=np.int64)

    @property
    def fingerprint(self) -> str:
        """Return the hex digest of class names and of each sample's id, split, label and content.

        It does not depend on the dataset's path, once a scan has set the digests. Before that `source.stamp` stands
        for the content, which is another one for a copy.
        """
        digest = hashlib.sha256("\0".join(self.classes).encode())  # no class name contains a zero byte
        for sample in self.samples:
            content = sample.digest or self.source.stamp(sample.locator)
            digest.update(f"\n{sample.id}\0{sample.split}\0{sample.label}\0{content}".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.samples)


def freeze(records: Sequence[Record], classes: ClassMap) -> tuple[Sample, ...]:
    """Return samples for records with known splits, sorted by split and locator: the order never depends on a disk."""
    index: dict[str | None, int | None] = {None: None, **{name: i for i, name in enumerate(classes)}}
    samples = [
        Sample(id=record.locator, locator=record.locator, label=index[record.label], split=record.split or "train")
        for record in records
    ]
    return tuple(sorted(samples, key=lambda sample: (SPLITS.index(sample.split), sample.id)))
