"""Files below a folder: images, and the shards of a dataset, whose split is in their name or in that of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from clearsight.core.dataset import Split
from clearsight.core.errors import BadImage
from clearsight.data.readers.support.layout import hidden
from clearsight.data.readers.support.split_names import split_in

_DEPTH = 3  # folders above a shard: default/train/0000.parquet
MAX_FILE_BYTES = 512 << 20  # no image within any sensible pixel limit is larger


class FileSource:
    """Reads files by their path relative to `root` (absolute ones are read as they are). Safe from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, locator: str) -> bytes:
        """Return the file's bytes; raises BadImage when it is missing, no regular file, unreadable or over 512 MiB."""
        path = self.root / locator
        try:
            if not path.is_file():  # a FIFO would block for ever
                raise BadImage(locator, "there is no such file" if not path.exists() else "it is not a regular file")
            with path.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)  # not by stat: the file may grow meanwhile
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise BadImage(locator, f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if len(data) > MAX_FILE_BYTES:
            raise BadImage(locator, f"it has more than {MAX_FILE_BYTES >> 20} MiB")
        return data

    def stamp(self, locator: str) -> str:
        """Return the stamp of the file; "missing" when there is no such file."""
        try:
            return file_stamp(self.root / locator)
        except (OSError, ValueError):
            return "missing"


def file_stamp(path: Path) -> str:
    """Return inode, size, and the times of modification and of change: cheap, and different after any replacement.

    Copying and unpacking programs set the modification time as they like; nobody sets the time of change.
    """
    facts = path.stat()
    return f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"


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
