"""Settings of the C library's allocator, so that memory freed in a training step is reused in the next one.

A step on a CPU allocates and frees hundreds of tensors of many megabytes. glibc returns each of them to the system at
once and requests it again, zeroed page by page, in the next step: that can take half of the time of a network of many
light layers (`benchmarks/kept_memory.py`). Results do not change.
Source of the parameters: glibc manual, "Malloc Tunable Parameters".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_NEVER = 2**31 - 1  # the largest int
_MIB = 1 << 20
_KEEP = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 64 * _MIB))
# Values that glibc reaches by itself in a process that has freed large blocks; it stops adapting once one is set.
_USUAL = ((_MMAP_MAX, 65_536), (_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 64 * _MIB), (_TOP_PAD, 0))


@contextmanager
def keep_freed_memory() -> Iterator[bool]:
    """Keep freed memory in the process within the block; afterwards return it to the system.

    Yields True if the allocator is glibc's; with another one nothing changes.
    """
    library = _glibc()
    if library is None:
        yield False
        return
    for parameter, value in _KEEP:
        library.mallopt(parameter, value)
    try:
        yield True
    finally:
        for parameter, value in _USUAL:
            library.mallopt(parameter, value)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if all(hasattr(library, name) for name in ("gnu_get_libc_version", "mallopt")) else None
