"""Images of the algorithm's channels as class folders, which clearsight reads.

A channel has RecordIO files, or images beside a list in a second channel (train and train_lst), or images with an
augmented manifest. The folders of the classes have their numbers as names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.errors import BadData, NotFound
from clearsight.core.files import stays_inside
from clearsight_sagemaker.algorithms.image_classification.image_records import read_records

SPLITS = {"train": "train", "validation": "valid"}  # channel -> folder of its images
_PNG = b"\x89PNG"


@dataclass(frozen=True, slots=True)
class _LabelledImage:
    """An image with a label. source: its file, or its bytes.  location: of it, for errors."""

    label: float
    source: Path | bytes
    location: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelImages:
    """Channels of a job. folder: input/data.  classes: their number.

    manifests: by channel, the file of an augmented manifest and its AttributeNames, of the image and of the label.
    """

    folder: Path
    classes: int
    manifests: Mapping[str, Sequence[str]]

    def write(self, target: Path) -> dict[str, int]:
        """Write the images of all channels below a new folder; return the number of images by channel.

        Raises ClearsightError for channels, labels or files that the algorithm cannot train on.
        """
        counts = {}
        for channel, split in SPLITS.items():
            if not (self.folder / channel).is_dir():
                raise NotFound("InputDataConfig", f"the channel {channel} is missing", fix="It is required.")
            counts[channel] = 0
            for number, image in enumerate(self._images(channel)):
                self._put(image, target / split, number)
                counts[channel] += 1
            if not counts[channel]:
                raise BadData(f"channel {channel}", "it has no images")
        return counts

    def _images(self, channel: str) -> Iterator[_LabelledImage]:
        folder, lists = self.folder / channel, self.folder / f"{channel}_lst"
        records = sorted(folder.rglob("*.rec"))
        if records:
            return (image for path in records for image in _of_records(path))
        if lists.is_dir():
            return (image for path in sorted(lists.rglob("*.lst")) for image in _of_list(path, folder))
        if len(self.manifests.get(channel, ())) == 3:
            name, source, label = self.manifests[channel]
            return _of_manifest(folder / name, folder, source, label)
        problem = f"it has no .rec files, there is no channel {channel}_lst, and no AttributeNames of a manifest"
        raise BadData(f"channel {channel}", problem, fix="Use RecordIO, or images with a list.")

    def _put(self, image: _LabelledImage, folder: Path, number: int) -> None:
        if not image.label.is_integer() or not 0 <= image.label < self.classes:
            allowed = f"must be a whole number from 0 to {self.classes - 1}, as num_classes is {self.classes}"
            raise BadData(image.location, f"label {image.label:g} {allowed}")
        place = folder / f"{image.label:.0f}"
        place.mkdir(parents=True, exist_ok=True)
        if isinstance(image.source, Path):
            (place / f"{number:08d}{image.source.suffix.lower() or '.jpg'}").symlink_to(image.source)
        else:
            suffix = ".png" if image.source.startswith(_PNG) else ".jpg"
            (place / f"{number:08d}{suffix}").write_bytes(image.source)


def _of_records(path: Path) -> Iterator[_LabelledImage]:
    for position, record in enumerate(read_records(path)):
        location = f"{path.name} record {position}"
        if len(record.labels) != 1:
            raise BadData(location, f"it has {len(record.labels)} labels, and one is needed")
        yield _LabelledImage(record.labels[0], record.image, location)


def _of_list(path: Path, images: Path) -> Iterator[_LabelledImage]:
    """Yield the images of a list: index, label and path, separated by tabs."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        location, cells = f"{path.name} line {number}", line.rstrip("\r\n").split("\t")
        if len(cells) != 3:
            raise BadData(location, f"it has {len(cells)} columns, and must have index, label and path, between tabs")
        yield _LabelledImage(_label(cells[1], location), _file(images, cells[2].strip(), location), location)


def _of_manifest(path: Path, images: Path, source: str, label: str) -> Iterator[_LabelledImage]:
    """Yield the images of an augmented manifest, a JSON object a line."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        location = f"{path.name} line {number}"
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise BadData(location, "it is not JSON") from None
        if not isinstance(row, dict) or not {source, label} <= row.keys():
            raise BadData(location, f"it must have {source} and {label}")
        key = str(row[source]).removeprefix("s3://").partition("/")[2]
        yield _LabelledImage(_label(row[label], location), _file(images, key, location), location)


def _label(value: object, location: str) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise BadData(location, f"label {value!r} is no class number") from None


def _file(images: Path, name: str, location: str) -> Path:
    path = images / name
    if not stays_inside(name) or not path.is_file():
        raise BadData(f"imread read blank (None) image for file: {path}", f"{location} names it, and it is not there")
    return path
