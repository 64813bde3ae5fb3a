"""Processor, cores and installed versions of this machine, found without importing the packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from typing import Any


def cores() -> int:
    """Return the number of cores that this process may use: the share of its container or taskset."""
    # macOS has no affinity; cpu_count() alone would start a thread per core of the host inside a small container.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(package: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(
    # What can change the numbers of a run.
    packages: Iterable[str] = ("clearsight", "torch", "torchvision", "timm", "numpy", "pillow"),
) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    known = {package: installed(package) for package in packages}
    return {"python": platform.python_version(), **{name: v for name, v in known.items() if v is not None}}


def hardware() -> dict[str, Any]:
    """Return system, processor and cores. The GPU is left to the callers that have torch loaded."""
    return {"system": f"{platform.system()} {platform.machine()}", "processor": _processor(), "cores": cores()}


def _processor() -> str:
    if sys.platform == "linux":
        # platform.processor() is empty or only the architecture on most Linux distributions.
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
