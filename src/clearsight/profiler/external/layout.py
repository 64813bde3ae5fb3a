"""File and folder names of a profiled command, in its profile folder.

Every process of the command leaves files of its own in the folder `processes`. `collect` makes one profile of them.
Loaded at the start of every Python process of the command, so it needs little of the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

HOT_LINES = "hotlines.json"  # the lines of code that loading waits for
PROCESSES = "processes"  # the folder for files of single processes
PROBLEMS = f"{PROCESSES}/problem.txt"  # what processes could not measure, one problem per line
LINE_COUNTS = f"{PROCESSES}/lines.jsonl"  # to which all loader workers append the lines that they were seen at


def process_loads(folder: Path, pid: int) -> Path:
    """Return the file of the sums of what the loader workers of process `pid` spent."""
    return folder / PROCESSES / f"loads.{pid}"


def process_spans(folder: Path, pid: int, rank: int) -> Path:
    """Return the file of the steps and spans of a process."""
    return folder / PROCESSES / f"spans.{pid}.{rank}.jsonl"


def process_machine(spans: Path) -> Path:
    """Return the file of the machine as described by the process whose steps are in `spans`."""
    return spans.with_name(spans.name.replace("spans.", "machine.", 1)).with_suffix(".json")


def find_process_spans(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield rank and file of the steps of every process, sorted by the file's name."""
    for path in sorted((folder / PROCESSES).glob("spans.*.jsonl")):
        if match := re.fullmatch(r"spans\.\d+\.(\d+)\.jsonl", path.name):
            yield int(match[1]), path
