"""Caches save time and nothing else: without one, or with a damaged one, a command gives the same result.

What is read from a cache carries a digest. What cannot be read or written is said once, and the command goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from clearsight.core.errors import DiskFull
from clearsight.core.files import write_text
from clearsight.core.part_files import remove_dead_parts

log = logging.getLogger(__name__)

# Files and folders that are being written; the second form is that of features before version 2 of their format.
_PART = re.compile(r"\..+\.([0-9a-f]{8}-)?[a-z0-9_]{8}\.part|\.[0-9a-f]{32}\.[a-z0-9_]{8}")


@contextmanager
def optional_write(cache: Path) -> Iterator[None]:
    """Turn what the system refuses within the block, a write into `cache`, into one note."""
    try:
        yield
    except (OSError, DiskFull, MemoryError) as error:
        note_unusable(cache, error)


def note_unusable(cache: Path, error: BaseException) -> None:
    """Say, once per process, that the folder `cache` cannot be used, and why."""
    reason = getattr(error, "strerror", None) or getattr(error, "problem", None) or str(error) or "out of memory"
    _note(str(cache), reason)


@lru_cache(maxsize=64)
def _note(cache: str, reason: str) -> None:
    log.warning(
        "note: the cache %s cannot be written to (%s); the command works without it. "
        "Set CLEARSIGHT_CACHE to a folder with room that you can write to.",
        cache,
        reason,
    )


@lru_cache(maxsize=64)
def note_damaged(path: Path, content: str) -> None:
    """Say, once per process, that what is at `path` is damaged. content: a plural, as in "results of the scan"."""
    log.warning("note: the cached %s in %s are damaged; they are made again.", content, path)


def write_sealed(path: Path, text: str) -> None:
    """Replace the cache file at `path` with `text` behind a line with its digest; raises OSError or DiskFull."""
    write_text(path, json.dumps({"sha256": _digest(text)}) + "\n" + text)


def read_sealed(path: Path, content: str) -> str | None:
    """Return the text that `write_sealed` wrote; None where it is missing, cannot be read, or (with a note) is damaged.

    content: what the file holds, a plural for the note.
    """
    remove_parts(path.parent)
    try:
        seal, _, text = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    try:
        whole = text.decode()
        if json.loads(seal) == {"sha256": _digest(whole)}:
            return whole
    except ValueError:  # not UTF-8, not JSON
        pass
    note_damaged(path, content)
    return None


@lru_cache(maxsize=64)
def remove_parts(folder: Path) -> None:
    """Remove what dead writers left in a folder of the cache, once per process."""
    remove_dead_parts(folder, _PART.fullmatch)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
