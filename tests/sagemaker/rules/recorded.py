"""Tensors of a job, written by smdebug's own writer and read as the rules read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clearsight_sagemaker.rules.conditions import CONDITIONS
from clearsight_sagemaker.rules.saved_tensors import SavedTensors
from smdebug.core import layout
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.file_store import LocalFiles
from smdebug.core.modes import ModeKeys
from smdebug.core.step_writer import StepWriter

LOSS = "CrossEntropyLoss_output_0"
Steps = Sequence[tuple[str, Mapping[str, Any]]]


def record(folder: Path, steps: Steps, *, first: int = 0) -> None:
    """Write steps of ("TRAIN" or "EVAL", tensors by name). first: number of the first global step."""
    files = LocalFiles(str(folder))
    files.write(layout.collections_file(layout.DEFAULT_WORKER), CollectionManager().to_json().encode())
    counts = {"TRAIN": 0, "EVAL": 0}
    for number, (mode, tensors) in enumerate(steps, first):
        writer = StepWriter(files, number, layout.DEFAULT_WORKER)
        for name, value in tensors.items():
            writer.write_tensor(name, np.asarray(value), ModeKeys[mode], counts[mode])
        writer.close()
        counts[mode] += 1


def read(folder: Path) -> SavedTensors:
    return SavedTensors(folder, lambda uri: folder.parent / uri.removeprefix("s3://"))


def met(folder: Path, rule: str, steps: Steps, **parameters: str) -> tuple[int, str]:
    """Return step and clause with which a rule is met; (-1, "") where it is not. Steps are written into the folder."""
    record(folder, steps)
    saved, condition = read(folder), CONDITIONS[rule].parse(rule, parameters)
    for step in saved.refresh():
        if clause := condition.at_step(saved, step):
            return step, clause
    return -1, condition.at_end()


def losses(values: Sequence[float], mode: str = "TRAIN") -> list[tuple[str, dict[str, float]]]:
    return [(mode, {LOSS: value}) for value in values]
