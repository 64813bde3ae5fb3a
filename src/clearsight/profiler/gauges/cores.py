"""The cores that a process may use."""

from __future__ import annotations

import os


def allowed_cores(pid: int | None = None) -> tuple[int, ...]:
    """Numbers of the cores that a process (None: this one) may run on, ascending.

    Raises ProcessLookupError where there is no such process.
    """
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(pid or 0)))
    return tuple(range(os.cpu_count() or 1))
