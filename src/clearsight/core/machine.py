"""Facts about the machine and the installed software, without importing any of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from typing import Any


def cores() -> int:
    """Cores this process may run on: a container's or taskset's share, not the whole machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(
    packages: Iterable[str] = ("clearsight", "torch", "torchvision", "timm", "numpy", "pillow"),
) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    found = {package: installed(package) for package in packages}
    return {"python": platform.python_version(), **{name: v for name, v in found.items() if v is not None}}


def hardware() -> dict[str, Any]:
    """Processor, cores and memory; a GPU is added by whoever has looked at it."""
    return {"system": f"{platform.system()} {platform.machine()}", "processor": _processor(), "cores": cores()}


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
