"""Parts: files and folders that are being written, beside their target under a temporary name.

A writer holds a lock on its part for as long as it writes. The kernel releases the lock of a process that was killed,
so a part that can be locked belongs to a dead writer and is removed. Some shared disks lock within one machine only: a
part that another machine writes is removed a day after its last change.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_NAMED = re.compile(r"\..+\.([0-9a-f]{8})-[a-z0-9_]{8}\.part")  # as `part_file` names them; no other program does
_FOREIGN_SECONDS = 86_400.0


@contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty, locked file beside `path`; it is removed after the block unless it was renamed.

    Parts that dead writers left in the folder are removed first, once per process.
    """
    _remove_once(path.parent)
    prefix = f".{path.name}.{_HOST}-"

    def create() -> str:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
        os.close(handle)  # writers open it by its name
        return name

    with _locked(create) as part:
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """Yield a new, empty, locked folder beside `path`; it is removed after the block unless it was renamed."""
    prefix = f".{path.name}.{_HOST}-"
    with _locked(lambda: tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=path.parent)) as part:
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


def remove_dead_parts(folder: Path, is_part: Callable[[str], object] = _NAMED.fullmatch) -> None:
    """Remove the parts in `folder` whose writers are dead; a folder that cannot be read or changed is left as it is.

    is_part: tells by its name whether an entry is a part.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if is_part(entry.name)]
    except OSError:
        return
    for name in names:
        part = folder / name
        if not _may_be_dead(part) or (handle := _lock(part, wait=False)) is None:
            continue
        try:
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                with suppress(OSError):
                    part.unlink()
        finally:
            os.close(handle)


@lru_cache(maxsize=4096)
def _remove_once(folder: Path) -> None:
    remove_dead_parts(folder)


def _may_be_dead(part: Path) -> bool:
    named = _NAMED.fullmatch(part.name)
    if named is None or named[1] == _HOST:
        return True
    with suppress(OSError):
        return time.time() - part.lstat().st_mtime > _FOREIGN_SECONDS
    return False


@contextmanager
def _locked(create: Callable[[], str]) -> Iterator[Path]:
    while True:
        part = Path(create())
        handle = _lock(part, wait=True)
        # Another process may have taken the new part for a dead writer's before it was locked: then it is gone.
        if handle is None or part.exists():
            break
        os.close(handle)
    try:
        yield part
    finally:
        if handle is not None:
            os.close(handle)


def _lock(part: Path, *, wait: bool) -> int | None:
    """Return a handle that holds the lock of a part; None where another has it, or where the disk has no locks."""
    try:
        # Over NFS only a file that is open for writing can be locked.
        handle = os.open(part, os.O_NOFOLLOW | (os.O_RDONLY if part.is_dir() else os.O_RDWR))
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle
