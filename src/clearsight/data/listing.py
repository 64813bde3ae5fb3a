"""Opening of a dataset: the reader that recognises it lists its images."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData, NotFound, nearest
from clearsight.data.readers import READERS

_FIND_OUT = ReadOptions()
_EXPECTED = (
    "Expected a folder of class folders, a zip or tar of one, a CSV, JSONL or Parquet table of paths and labels, "
    "an augmented manifest, a .lst file, HDF5, or CIFAR batches."
)


def open_listing(path: Path, format: str = "auto", options: ReadOptions = _FIND_OUT) -> Listing:
    """Return the listing of the dataset at `path`; no pixels are read.

    format: a name of READERS, or "auto": the first reader that recognises the path.
    Raises NotFound when nothing is there, BadChoice for an unknown format, BadData for a path in no known format.
    """
    if format != "auto" and format not in READERS.names():
        allowed = ("auto", *READERS.names())
        raise BadChoice(f"--format {format}", "there is no such dataset format", got=format, allowed=allowed)
    if not path.exists():
        raise _not_found(path)
    if format != "auto":
        return READERS.load(format).read(path, options)
    for _, reader in READERS:  # in the registry's order: unmistakable formats first
        if reader.recognises(path):
            return reader.read(path, options)
    raise BadData(str(path), _unknown(path), fix=_EXPECTED)


def _not_found(path: Path) -> NotFound:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, names)  # a misspelt name is the usual reason
    hint = f"Did you mean {path.parent / near}?" if near else ""
    return NotFound(str(path), "there is no such file or folder", fix=hint)


def _unknown(path: Path) -> str:
    if not path.is_dir():
        return "it is one file of no known dataset format"
    return "none of its files belongs to a known format" if any(path.iterdir()) else "the folder is empty"
