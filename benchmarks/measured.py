"""Time commands as whole processes, and format the results of benchmarks."""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.machine import hardware, versions


@dataclass(frozen=True)
class Timed:
    """Wall seconds, processor seconds (of all its processes) and output of a finished command."""

    seconds: float
    processor: float
    output: str


def timed(words: Sequence[object], environ: dict[str, str] | None = None) -> Timed:
    """Run a command to its end; raises RuntimeError with its output when it fails."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environ)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        raise RuntimeError(f"{words} failed:\n{done.stdout}\n{done.stderr}")
    return Timed(seconds, processor, done.stdout)


def machine() -> str:
    """Return hardware and versions, for the first line of a result."""
    facts = hardware()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"{facts['processor']}, {facts['cores']} cores, {platform.system()}; {packages}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the values as "median (min to max, n=count)"."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def shared() -> Path:
    """Return the folder with real images and weights, as in the tests."""
    import os

    return Path(os.environ.get("CLEARSIGHT_SHARED", Path(__file__).parents[2] / "shared"))
