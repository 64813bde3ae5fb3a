"""SageMaker augmented manifests: JSON lines with "source-ref" and a label attribute.

`{"source-ref": "s3://bucket/pets/1.jpg", "job": 0, "job-metadata": {"class-name": "cat", ...}}` as Ground Truth writes
them, or `{"source-ref": ..., "class": "0"}`. Nothing is downloaded: images of s3:// addresses are looked for below the
manifest's folder, by as much of the key's end as exists there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.dataset import SPLITS, Listing, ReadOptions, Record, Split
from clearsight.core.errors import BadChoice, BadData
from clearsight.data.readers.support.column_names import LABELS
from clearsight.data.readers.support.rows import json_objects, text
from clearsight.data.readers.support.split_names import split_of
from clearsight.data.readers.table import PathRows

_REFERENCE = "source-ref"
_SUFFIXES = (".manifest", ".jsonl", ".ndjson", ".json")


class ManifestReader:
    """An augmented manifest, with its images on the local disk."""

    name = "manifest"

    def recognises(self, path: Path) -> bool:
        if not path.is_file() or path.suffix.lower() not in _SUFFIXES:
            return False
        try:
            with path.open("rb") as stream:
                # A line of metadata has some kilobytes; the limit keeps a file without line ends out of memory.
                return f'"{_REFERENCE}"'.encode() in stream.read(65536).split(b"\n")[0]
        except OSError:
            return False

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return every line; the label attribute is the one with "-metadata", or of a usual name, or `label_column`."""
        attribute = options.label_column
        path_rows, key_finder = PathRows(path), _KeyFinder(path.parent)
        for line, row in json_objects(path):
            reference = row.get(_REFERENCE)
            if not isinstance(reference, str) or not reference:
                raise BadData(f"{path} line {line}", f'it has no "{_REFERENCE}"')
            attribute = attribute or _attribute(path, line, row)  # the first line decides for all
            locator, label = key_finder.find(reference), _label(path, line, row, attribute)
            split = _split(row, options, f"{path} line {line}")
            path_rows.add(line, Record(locator=locator, label=label, split=split))
        return path_rows.listing(self.name, options)


class _KeyFinder:
    """Finds s3:// keys below a folder; the tail length that worked last is tried first."""

    def __init__(self, root: Path) -> None:
        self._root, self._drop = root, 0

    def find(self, reference: str) -> str:
        """Return the path relative to the root; where nothing exists, the key's last part, for the error to show."""
        if not reference.startswith("s3://"):
            return reference
        # Without the bucket. A key is not a path: ".." in it must not lead out of the folder.
        parts = [part for part in reference.removeprefix("s3://").split("/")[1:] if part not in ("", ".", "..")]
        for drop in (self._drop, *range(len(parts))):
            tail = "/".join(parts[drop:])
            if tail and (self._root / tail).is_file():
                self._drop = drop
                return tail
        return "/".join(parts[self._drop :]) or reference


def _attribute(path: Path, line: int, row: dict[str, Any]) -> str:
    described = [key for key in row if f"{key}-metadata" in row]  # Ground Truth writes "<job>-metadata"
    usual = [key for key in LABELS if key in row]
    found = described or usual[:1]
    if len(found) == 1:
        return found[0]
    left = [key for key in row if key != _REFERENCE and not key.endswith("-metadata")]
    problem = "the label attribute is not clear; choose one with --label-column"
    raise BadChoice(f"{path} line {line}", problem, allowed=described or left)


def _split(row: dict[str, Any], options: ReadOptions, place: str) -> Split | None:
    """Return the split that a line names; raises BadChoice where it is no split."""
    cell = text(row.get(options.split_column or "split"))
    split = None if cell is None else split_of(cell)
    if cell is not None and split is None:
        raise BadChoice(place, f"split {cell!r} is not known", got=cell, allowed=SPLITS)
    return split


def _label(path: Path, line: int, row: dict[str, Any], attribute: str) -> str | None:
    facts = row.get(f"{attribute}-metadata")
    name = facts.get("class-name") if isinstance(facts, dict) else None
    value = row.get(attribute) if name is None else name
    if isinstance(value, (list, dict)):
        raise BadData(f"{path} line {line}", f"{attribute!r} holds several values, one class per image is needed")
    return text(value)


READER = ManifestReader()
