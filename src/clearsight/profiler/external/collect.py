"""Gathering: of what the processes of a command left behind, the profile of one run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from clearsight.core.files import read_json, read_jsonl, write_text
from clearsight.core.profile import Machine
from clearsight.core.profile_folder import spans_file, write_machine
from clearsight.profiler.external.child_process import PROBLEM, PROCESSES
from clearsight.profiler.external.hot_lines import hottest

LINES = "lines.jsonl"
HOT_LINES = "hotlines.json"


def collect_profile(folder: Path, machine: Machine) -> str:
    """Make the steps of the first process that trained, of each rank, those of the profile in `folder`.

    machine: as seen from outside; written with what the process that trained knows of it. Returns what went wrong in
    the processes, "" where nothing did. The folder `processes` is gone afterwards.
    """
    left = folder / PROCESSES
    trained = _trained(left)
    for rank, (_, path) in trained.items():
        path.replace(spans_file(folder, rank))
    if 0 in trained:
        machine = _told(trained[0][1], machine)
    write_machine(folder, replace(machine, ranks=max(1, len(trained))))
    problem = (left / PROBLEM).read_text(encoding="utf-8").strip() if (left / PROBLEM).is_file() else ""
    tidy(folder)
    return "; ".join(dict.fromkeys(problem.splitlines()))


def tidy(folder: Path) -> None:
    """Write the hot lines that all readers saw, where there are any; the folder `processes` is gone afterwards."""
    if seen := list(read_jsonl(folder / PROCESSES / LINES)):
        write_text(folder / HOT_LINES, json.dumps(hottest(seen)) + "\n")
    shutil.rmtree(folder / PROCESSES, ignore_errors=True)  # a reader that still lives may write to it


def _trained(left: Path) -> dict[int, tuple[float, Path]]:
    """By rank, when the first process that trained made its first step, and the file of its steps."""
    first: dict[int, tuple[float, Path]] = {}
    for rank, path in _files(left):
        starts = [line["start"] for line in read_jsonl(path) if "name" not in line]
        if starts and (rank not in first or starts[0] < first[rank][0]):
            first[rank] = (starts[0], path)
    return first


def _files(left: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(left.glob("spans.*.jsonl")):
        if match := re.fullmatch(r"spans\.\d+\.(\d+)\.jsonl", path.name):
            yield int(match[1]), path


def _told(spans: Path, outside: Machine) -> Machine:
    """What a process said of its machine, with what only its parent knows."""
    path = spans.with_name(spans.name.replace("spans.", "machine.", 1)).with_suffix(".json")
    if not path.is_file():
        return outside
    inside = Machine.from_json(read_json(path))
    gpus = outside.gpus if inside.device == "cuda" else 0
    return replace(inside, gpus=gpus, interval=outside.interval, launched=inside.launched or outside.launched)
