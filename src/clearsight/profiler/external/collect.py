"""Collect the files of the processes of a command into the profile of one run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from clearsight.core.files import read_json, read_jsonl, write_text
from clearsight.core.profile import Machine
from clearsight.core.profile_folder import spans_file, write_machine
from clearsight.profiler.external import layout
from clearsight.profiler.external.hot_lines import hottest


def collect_profile(folder: Path, machine: Machine) -> str:
    """Make the steps of the first process that trained, of each rank, the steps of the profile in `folder`.

    machine: as seen from outside; written with what the process that trained knows of it. Returns the problems of the
    processes, "" for none. Removes the folder of the processes.
    """
    training = _first_training(folder)
    for rank, (_, path) in training.items():
        path.replace(spans_file(folder, rank))
    if 0 in training:
        machine = _combined_machine(training[0][1], machine)
    write_machine(folder, replace(machine, ranks=max(1, len(training))))
    problems = folder / layout.PROBLEMS
    text = problems.read_text(encoding="utf-8").strip() if problems.is_file() else ""
    collect_hot_lines(folder)
    return "; ".join(dict.fromkeys(text.splitlines()))  # each once: every process may have the same problem


def collect_hot_lines(folder: Path) -> None:
    """Write the hot lines that all loader workers saw, if any, and remove the folder of the processes."""
    if records := list(read_jsonl(folder / layout.LINE_COUNTS)):
        write_text(folder / layout.HOT_LINES, json.dumps(hottest(records)) + "\n")
    # Errors are ignored, because a loader worker that still runs may write to the folder.
    shutil.rmtree(folder / layout.PROCESSES, ignore_errors=True)


def _first_training(folder: Path) -> dict[int, tuple[float, Path]]:
    """Return, by rank, the start of the first step of the first process that trained, and the file of its steps."""
    first: dict[int, tuple[float, Path]] = {}
    for rank, path in layout.find_process_spans(folder):
        starts = [line["start"] for line in read_jsonl(path) if "name" not in line]
        if starts and (rank not in first or starts[0] < first[rank][0]):
            first[rank] = (starts[0], path)
    return first


def _combined_machine(spans: Path, outside: Machine) -> Machine:
    """Return the machine that a process described, with what only its parent knows."""
    path = layout.process_machine(spans)
    if not path.is_file():
        return outside
    inside = Machine.from_json(read_json(path))
    gpus = outside.gpus if inside.device == "cuda" else 0
    return replace(inside, gpus=gpus, interval=outside.interval, launched=inside.launched or outside.launched)
