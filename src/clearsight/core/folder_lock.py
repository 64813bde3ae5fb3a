"""Lock of a folder that one process writes to: a run, a study, the folder of a hook."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clearsight.core.errors import ClearsightError, NotResumable

_held: set[int] = set()  # descriptors of the locks of this process


def _leave_to_parent() -> None:
    # A forked child would hold the lock of a parent that has died.
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def folder_lock(path: Path, noun: str, error: type[ClearsightError] = NotResumable) -> Iterator[None]:
    """Hold the lock file `path` within the block; its folder must exist.

    noun: what the folder holds, "run".  The system releases the lock when the process ends, however it ends, so the
    file of a dead process stops nobody. Raises `error` with process and machine if another one holds the lock.
    """
    handle = _open_locked(path, noun, error)
    _held.add(handle)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        if handle in _held:  # not in a forked child
            _held.discard(handle)
            path.unlink(missing_ok=True)  # before it is released: whoever waits for this file sees that it is gone
            os.close(handle)


def _open_locked(path: Path, noun: str, error: type[ClearsightError]) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 300, 0).decode(errors="replace").split()
            os.close(handle)
            who = f"process {holder[0]} on {holder[1]}" if len(holder) == 2 else "another process"
            fix = "Wait until it ends, or end it."
            raise error(str(path.parent), f"{who} works on this {noun}", fix=fix) from None
        except OSError:  # a file system without locks: there nothing can be checked
            return handle
        with suppress(FileNotFoundError):
            if _is_same(handle, path):
                return handle
        os.close(handle)  # its holder has just removed it: lock the file that is there now


def _is_same(handle: int, path: Path) -> bool:
    found, opened = path.stat(), os.fstat(handle)
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)
