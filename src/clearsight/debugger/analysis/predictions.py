"""Predictions of a model on images, split by epoch and counted by class. M images, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.statistics import wilson
from clearsight.core.view import Ints, PredictionTable, RunView

_ABOVE = 0.1  # accuracy that a guess must be exceeded by, beyond the interval


def select_rows(table: PredictionTable, rows: npt.NDArray[Any]) -> PredictionTable:
    """Return some rows of a table. rows: a mask (M,) or indices."""
    return PredictionTable(*(getattr(table, field.name)[rows] for field in fields(PredictionTable)))


def class_count(context: RunContext, *tables: PredictionTable) -> int:
    """Return the number of classes: as many as are named, and no fewer than occur in the tables."""
    used = [int(values.max()) + 1 for table in tables if len(table) for values in (table.labels, table.predictions)]
    return max([len(context.classes), len(context.class_counts), *used])


def class_name(context: RunContext, index: int) -> str:
    """Return the name of a class, "class 3" where it has none."""
    return context.classes[index] if index < len(context.classes) else f"class {index}"


def validation_predictions(view: RunView, last: int) -> list[PredictionTable]:
    """Return the validation predictions of the last epochs that have some, at most `last`, oldest first.

    An image that was predicted several times in an epoch counts once, by its last prediction, where its index in the
    split is known.
    """
    table = view.predictions("eval")
    return [_latest_per_image(select_rows(table, table.epochs == epoch)) for epoch in np.unique(table.epochs)[-last:]]


def confusion_matrix(table: PredictionTable, size: int) -> Ints:
    """Return counts (C, C), rows by label, columns by prediction. size: C, above every label and prediction."""
    return np.bincount(table.labels * size + table.predictions, minlength=size * size).reshape(size, size)


def last_step(view: RunView, epoch: int) -> int:
    """Return the last training step done by the end of an epoch; 0 before the first."""
    steps, epochs = training_steps(view)
    done = steps[epochs <= epoch]
    return int(done[-1]) if len(done) else 0


def training_steps(view: RunView) -> tuple[Ints, Ints]:
    """Return steps and epochs of the training so far, both (S,), from the loss or else from the predictions."""
    curve = view.scalar("loss")
    if len(curve):
        return curve.steps, curve.epochs
    table = view.predictions()
    return table.steps, table.epochs


def join_names(names: Sequence[str]) -> str:
    """Return names in a row: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def has_learned(view: RunView) -> bool:
    """Return True if the network is right about its latest training images more often than a guess."""
    table = view.predictions()
    late = select_rows(table, np.arange(len(table)) >= len(table) - max(1, len(table) // 3))
    if not len(late):
        return False
    chance = float(np.unique(late.labels, return_counts=True)[1].max()) / len(late)
    return wilson(int((late.labels == late.predictions).sum()), len(late)).low > chance + _ABOVE


def _latest_per_image(table: PredictionTable) -> PredictionTable:
    if not len(table) or (table.indices < 0).any():
        return table
    # np.unique gives the first occurrence, so the table is searched from its end.
    _, from_the_end = np.unique(table.indices[::-1], return_index=True)
    return select_rows(table, np.sort(len(table) - 1 - from_the_end))
