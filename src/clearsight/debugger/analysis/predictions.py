"""Answers: what a model said of images, taken apart by epoch and counted by class. M images, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.view import PredictionTable, RunView


def pick(table: PredictionTable, rows: npt.NDArray[Any]) -> PredictionTable:
    """Some rows of a table: a mask (M,) or places."""
    return PredictionTable(*(getattr(table, field.name)[rows] for field in fields(PredictionTable)))


def classes(facts: RunContext, *tables: PredictionTable) -> int:
    """How many classes there are: as many as are named, and no fewer than were seen."""
    seen = [int(values.max()) + 1 for table in tables if len(table) for values in (table.labels, table.predictions)]
    return max([len(facts.classes), len(facts.class_counts), *seen])


def class_name(facts: RunContext, number: int) -> str:
    """The class's name, "class 3" where it has none."""
    return facts.classes[number] if number < len(facts.classes) else f"class {number}"


def validation_predictions(view: RunView, last: int) -> list[PredictionTable]:
    """Validation answers of the last epochs that have some, at most `last`, in order of time; each image once.

    An image that was answered several times in an epoch counts by its last answer, where its place in the split is
    known.
    """
    table = view.outcomes("eval")
    return [_once(pick(table, table.epochs == epoch)) for epoch in np.unique(table.epochs)[-last:]]


def confusion(table: PredictionTable, size: int) -> npt.NDArray[np.int64]:
    """(C, C) counts: rows the labels, columns what the model said. size: C, above every label and prediction."""
    return np.bincount(table.labels * size + table.predictions, minlength=size * size).reshape(size, size)


def last_step(view: RunView, epoch: int) -> int:
    """The last training step done by the end of an epoch; 0 before the first."""
    steps, epochs = training_steps(view)
    done = steps[epochs <= epoch]
    return int(done[-1]) if len(done) else 0


def training_steps(view: RunView) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Steps and epochs of the training so far, both (S,), by the loss or else by the answers."""
    curve = view.scalar("loss")
    if len(curve):
        return curve.steps, curve.epochs
    table = view.outcomes()
    return table.steps, table.epochs


def join_names(words: Sequence[str]) -> str:
    """Names in a row: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


def _once(table: PredictionTable) -> PredictionTable:
    if not len(table) or (table.indices < 0).any():
        return table
    _, from_the_end = np.unique(table.indices[::-1], return_index=True)
    return pick(table, np.sort(len(table) - 1 - from_the_end))
