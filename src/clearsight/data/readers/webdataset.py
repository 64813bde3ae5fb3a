"""WebDataset: tar files in which an image and its label have the same name, `000012.jpg` + `000012.cls`.

The label is in .cls (a number or a name), in .json (a key such as "label"), or in .txt. One tar or a folder of shards,
`train-000000.tar` or `train/0.tar`; `classnames.txt` beside the shards names the classes by number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from clearsight.core.dataset import Listing, Notice, ReadOptions, Record
from clearsight.core.errors import BadArchive, BadChoice, BadData, BadImage
from clearsight.data.readers.archive import TARS, ArchiveSource, open_tar, tar_names
from clearsight.data.readers.support.column_names import LABELS
from clearsight.data.readers.support.files import shard_name, shard_split, shards
from clearsight.data.readers.support.layout import is_image
from clearsight.data.readers.support.rows import text

_NUMBERS = ("cls", "cls.txt", "class", "label", "cls.json")
_CLASS_FILES = ("classnames.txt", "classes.txt", "class_names.txt", "labels.txt")
_LABEL_ENDS = (*_NUMBERS, "json", "txt")  # in the order in which they are looked at
_HEAD = 40  # members that are looked at to recognise a shard
_MAX_LABEL = 1 << 20  # bytes of a label file


class WebDatasetSource:
    """Images by shard and member."""

    def __init__(self, sources: Mapping[str, ArchiveSource]) -> None:
        self._sources = sources

    def read(self, locator: str) -> bytes:
        """Return the encoded image; BadImage when there is none, or the shard is damaged there."""
        source, member = self._place(locator)
        if source is None:
            raise BadImage(locator, "there is no such shard")
        return source.read(member)

    def stamp(self, locator: str) -> str:
        """Return length and times, or a checksum, as of an archive."""
        source, member = self._place(locator)
        return source.stamp(member) if source else "missing"

    def _place(self, locator: str) -> tuple[ArchiveSource | None, str]:
        shard, _, member = locator.partition("::")
        return self._sources.get(shard), member


class WebDatasetReader:
    """A tar of samples, or a folder of such tars."""

    name = "webdataset"

    def recognises(self, path: Path) -> bool:
        """Return True if the first members of the first tar are images with label files of the same names."""
        found = shards(path, TARS)
        try:
            names = list(islice(tar_names(found[0]), _HEAD)) if found else []
        except (OSError, BadArchive):
            return False
        samples = _samples(names)
        labelled = [sample for sample in samples.values() if sample.image and sample.labels]
        # Captions beside images in class folders are no labels: the folders are.
        in_folders = len({name.rpartition("/")[0] for name in names if "/" in name}) > 1
        return any(not in_folders or set(sample.labels) & set(_NUMBERS) for sample in labelled)

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every image; one without a label file goes to the predict split."""
        found = shards(path, TARS)
        if not found:
            raise BadData(str(path), "there is no tar file")
        names = _class_names(path)
        records: list[Record] = []
        sources: dict[str, ArchiveSource] = {}
        skipped: list[str] = []
        keys: dict[str, None] = {}
        for file in found:
            shard = shard_name(file, path)
            source = sources[shard] = open_tar(file, _is_part)
            split = shard_split(shard)
            for key, sample in _samples(list(source.names)).items():
                if not sample.image:
                    skipped.append(f"{shard}/{key}")
                    continue
                label = _label(source, sample, options, keys) if options.labels else None
                label = names[int(label)] if label and label.isdecimal() and int(label) < len(names) else label
                place = split if label is not None else "predict"
                records.append(Record(locator=f"{shard}::{sample.image}", label=label, split=place))
        if options.labels and options.label_column is not None and all(record.label is None for record in records):
            flag = f"--label-column {options.label_column}"
            raise BadChoice(flag, "no JSON file has such a key", got=options.label_column, allowed=keys)
        used = {record.label for record in records} - {None}
        fixed = names if used <= set(names) else ()
        notices = list(_notices(skipped, bool(used) or not options.labels, list(keys)))
        return Listing(
            records=tuple(records),
            source=WebDatasetSource(sources),
            format=self.name,
            classes=fixed,
            notices=tuple(notices),
        )


@dataclass
class _Sample:
    """Members of one key. labels: end of the name to member."""

    image: str
    image_end: str
    labels: dict[str, str]


def _samples(names: list[str]) -> dict[str, _Sample]:
    """Return the members by key: the path up to the first dot of the file's name."""
    found: dict[str, _Sample] = {}
    for member in names:
        folder, slash, file = member.rpartition("/")
        stem, _, end = file.partition(".")
        sample = found.setdefault(f"{folder}{slash}{stem}", _Sample("", "", {}))
        if end.lower() in _LABEL_ENDS:
            sample.labels[end.lower()] = member
        # Of image.jpg and image.mask.png, the one with the shorter end is the image.
        elif is_image(file) and (not sample.image or end.count(".") < sample.image_end.count(".")):
            sample.image, sample.image_end = member, end
    return {key: sample for key, sample in found.items() if sample.image or sample.labels}


def _is_part(name: str) -> bool:
    return is_image(name) is True or name.lower().partition(".")[2] in _LABEL_ENDS


def _label(source: ArchiveSource, sample: _Sample, options: ReadOptions, keys: dict[str, None]) -> str | None:
    """Return the label in the first of a sample's files that has one; `keys` takes the names in JSON files."""
    ends = ("json", "cls.json") if options.label_column is not None else _LABEL_ENDS
    for end in ends:
        if end not in sample.labels:
            continue
        data = source.read(sample.labels[end])[:_MAX_LABEL].decode("utf-8", "replace").strip()
        if "json" not in end:
            return data or None
        try:
            held = json.loads(data)
        except (ValueError, RecursionError):
            raise BadData(sample.labels[end], "it is not JSON") from None
        if not isinstance(held, dict):
            return text(held)
        keys.update(dict.fromkeys(held))
        wanted = (options.label_column,) if options.label_column else (*LABELS, "cls")
        for name in wanted:
            if (value := held.get(name)) is not None:
                return text(value)
    return None


def _class_names(path: Path) -> tuple[str, ...]:
    folder = path if path.is_dir() else path.parent
    for name in _CLASS_FILES:
        file = folder / name
        if file.is_file() and file.stat().st_size <= _MAX_LABEL:
            lines = [line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
            names = tuple(line for line in lines if line)
            return names if len(set(names)) == len(names) else ()
    return ()


def _notices(skipped: list[str], labelled: bool, keys: list[str]) -> Iterator[Notice]:
    if skipped:
        text = f"{len(skipped)} samples have a label and no image, such as {skipped[0]}: left out"
        yield Notice(code="row-without-image", text=text, paths=tuple(skipped))
    if not labelled:
        held = f"the JSON files have {', '.join(keys[:12])}; choose one with --label-column" if keys else "no .cls file"
        yield Notice(code="no-labels", text=f"no label was found ({held})")


READER = WebDatasetReader()
