"""Dataset formats, one file each; the reader that recognises a dataset lists its images."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.dataset import Listing, Reader, ReadOptions
from clearsight.core.errors import BadChoice, BadData, NotFound, nearest
from clearsight.core.registry import Registry

# In the order in which they are tried: unmistakable formats first, folders last.
_NAMES = (
    *("cifar", "hdf5-table", "hdf5-groups", "hdf5-arrays", "numpy", "parquet-images", "webdataset", "archive"),
    *("manifest", "lst", "table", "metadata", "folders"),
)

_MODULES = {"numpy": "numpy_arrays"}  # a module of its own name would be taken for the library

READERS: Registry[Reader] = Registry(
    "dataset format",
    {name: f"clearsight.data.readers.{_MODULES.get(name, name.replace('-', '_'))}:READER" for name in _NAMES},
    group="clearsight.readers",
)

_DETECT = ReadOptions()
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_EXPECTED = (
    "Expected a folder of class folders, a zip or tar of one, a CSV, JSONL or Parquet table of paths and labels, "
    "images with a metadata.csv, an augmented manifest, a .lst file, Parquet or WebDataset shards of images, HDF5, "
    "NumPy files, or CIFAR batches."
)


def check_path(path: Path, format: str = "auto") -> None:
    """Raise BadChoice for an unknown format and NotFound when nothing is at `path`; opens no file.

    format: a name of READERS, or "auto".
    """
    if format != "auto" and format not in READERS.names():
        allowed = ("auto", *READERS.names())
        raise BadChoice(f"--format {format}", "there is no such dataset format", got=format, allowed=allowed)
    if not path.exists():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, names)  # a misspelt name is the usual reason
        hint = f"Did you mean {path.parent / near}?" if near else ""
        raise NotFound(str(path), "there is no such file or folder", fix=hint)


def open_listing(path: Path, format: str = "auto", options: ReadOptions = _DETECT) -> Listing:
    """Return the listing of the dataset at `path`; no pixels are read.

    format: a name of READERS, or "auto": the first reader that recognises the path.
    Raises NotFound when nothing is there, BadChoice for an unknown format, BadData for a path in no known format.
    """
    check_path(path, format)
    if format != "auto":
        return READERS.load(format).read(path, options)
    for _, reader in READERS:
        if reader.recognises(path):
            return reader.read(path, options)
    if path.suffix.lower() in _SHEETS:
        raise BadData(str(path), "tables of spreadsheet programs are not read", fix="Save it as CSV UTF-8.")
    if not path.is_dir():
        problem = "it is one file of no known dataset format"
    else:
        problem = "none of its files belongs to a known format" if any(path.iterdir()) else "the folder is empty"
    raise BadData(str(path), problem, fix=_EXPECTED)
