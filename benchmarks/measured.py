"""Running a command as a whole process and saying how long it took, on what."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.machine import hardware, versions


@dataclass(frozen=True)
class Timed:
    """Wall seconds of a finished command, and what it printed."""

    seconds: float
    output: str


def timed(words: Sequence[object], environ: dict[str, str] | None = None) -> Timed:
    """Run a command to its end; raises CalledProcessError with its output when it fails."""
    began = time.perf_counter()
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, env=environ)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{words} failed:\n{done.stdout}\n{done.stderr}")
    return Timed(seconds, done.stdout)


def machine() -> str:
    """Hardware and versions, for the head of a result."""
    facts, found = hardware(), versions()
    named = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"{facts['processor']}, {facts['cores']} cores, {platform.system()}; {named}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """ "median (min to max, n)"."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def shared() -> Path:
    """The folder with real images and weights, as in the tests."""
    import os

    return Path(os.environ.get("CLEARSIGHT_SHARED", Path(__file__).parents[2] / "shared"))
