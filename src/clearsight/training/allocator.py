"""The C library's allocator, told to keep what a training step frees for the next one.

A step on a CPU makes and drops hundreds of tensors of many megabytes. glibc hands each of them back to the system at
once and asks for it again, zeroed page by page, in the next step: that can take half of the time of a network of many
light layers (`benchmarks/kept_memory.py`). What is computed does not change.
Source of the parameters: glibc manual, "Malloc Tunable Parameters".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_NEVER = 2**31 - 1  # the largest int
_MIB = 1 << 20
_KEEP = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 64 * _MIB))
# What glibc itself arrives at in a process that has freed large blocks; it no longer adapts once it was told anything.
_USUAL = ((_MMAP_MAX, 65_536), (_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 64 * _MIB), (_TOP_PAD, 0))


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Within the block freed memory stays with the process; after it, it goes back. Tells whether that can be said:
    elsewhere than with glibc nothing happens."""
    library = _glibc()
    if library is None:
        yield False
        return
    _tell(library.mallopt, _KEEP)
    try:
        yield True
    finally:
        _tell(library.mallopt, _USUAL)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, where it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt")) else None


def _tell(mallopt: Callable[[int, int], int], settings: tuple[tuple[int, int], ...]) -> None:
    for parameter, value in settings:
        mallopt(parameter, value)
