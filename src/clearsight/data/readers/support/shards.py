"""Shards of a dataset: files of one format below a folder, with the split in the name or in the folder's name."""

from __future__ import annotations

import os
from pathlib import Path

from clearsight.core.dataset import Split
from clearsight.data.readers.support.layout import hidden
from clearsight.data.readers.support.split_names import split_in

_DEPTH = 3  # folders: default/train/0000.parquet


def shards(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return `path` if it is such a file, else the visible files with such names below it, sorted."""
    if path.is_file():
        return [path] if path.name.lower().endswith(suffixes) else []
    found: list[Path] = []
    for folder, folders, files in os.walk(path):
        inside = Path(folder).relative_to(path).parts
        # Pruned in place: os.walk goes into what is left.
        folders[:] = sorted(name for name in folders if not hidden(name)) if len(inside) < _DEPTH else []
        found += [Path(folder, name) for name in files if name.lower().endswith(suffixes) and not hidden(name)]
    return sorted(found)


def shard_name(shard: Path, root: Path) -> str:
    """Return the shard's path relative to the dataset, as POSIX; its own name where it is the dataset."""
    return shard.name if shard == root else shard.relative_to(root).as_posix()


def shard_split(name: str) -> Split | None:
    """Return the split that the shard's name says ("train-00000-of-00002.parquet", "default/test/0000.parquet")."""
    *folders, file = name.split("/")
    return split_in(file.partition(".")[0]) or next(filter(None, map(split_in, reversed(folders))), None)
