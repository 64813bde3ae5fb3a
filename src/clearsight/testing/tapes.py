"""Synthetic tapes: records that a run of a known shape would leave, for the specifications of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.tensors import STATISTICS, Mode, Moment, PredictionRecord, Scalars, Snapshot
from clearsight.debugger.storage.tape import Tape

Values = Sequence[float] | npt.NDArray[np.float64]
Statistics = Mapping[str, Mapping[str, Mapping[str, Values | float]]]  # collection -> tensor -> statistic -> over time


def flat(level: float, steps: int) -> npt.NDArray[np.float64]:
    """Return a constant curve."""
    return np.full(steps, float(level))


def falling(start: float, end: float, steps: int, *, bend: float = 4.0) -> npt.NDArray[np.float64]:
    """Return a curve that falls exponentially from `start` to near `end`; `bend` time constants long."""
    return end + (start - end) * np.exp(-bend * np.arange(steps) / max(steps - 1, 1))


def noisy(curve: Values, *, share: float = 0.03, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return a curve with multiplicative noise of the given relative spread."""
    clean = np.asarray(curve, dtype=float)
    # Relative: the noise of a loss shrinks with it.
    return clean * (1 + share * np.random.default_rng(seed).standard_normal(clean.shape))


def tape(
    *,
    per_epoch: int = 10,
    valid: Mapping[str, Values] | None = None,
    statistics: Statistics | None = None,
    every: int = 1,
    context: RunContext | None = None,
    ended: bool = True,
    **scalars: Values,
) -> Tape:
    """Return a tape of a training run.

    scalars: `loss=[...]`, `lr=[...]`, one value per training step.  valid: `{"loss": [...]}`, one value per epoch of
    `per_epoch` steps.  statistics: per collection and tensor, values over snapshots at step 1 and then each `every`-th
    (a number stands for all of them).
    """
    result = Tape(context or RunContext(), ended=ended)
    steps = max((len(values) for values in scalars.values()), default=0)
    for i in range(steps):
        at = _moment(i + 1, per_epoch)
        result.add(Scalars(at, {name: float(values[i]) for name, values in scalars.items() if i < len(values)}))
    for epoch in range(1, 1 + max((len(values) for values in (valid or {}).values()), default=0)):
        step = epoch * per_epoch
        scores = {f"valid_{name}": float(values[epoch - 1]) for name, values in (valid or {}).items()}
        result.add(Scalars(Moment("eval", step, epoch, step), scores))
    if statistics:
        for snapshot in _snapshots(statistics, every, per_epoch):
            result.add(snapshot)
    return result


def prediction_record(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    confidence: npt.ArrayLike | float = 0.8,
    true_probability: npt.ArrayLike | None = None,
    indices: npt.ArrayLike | None = None,
    step: int = 1,
    epoch: int = 1,
    mode: Mode = "train",
) -> PredictionRecord:
    """Return the predictions of a batch. true_probability: confidence where correct, else a tenth of the rest."""
    label_row, prediction_row = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    confidences = np.broadcast_to(np.asarray(confidence, np.float32), label_row.shape)
    if true_probability is None:
        # A wrong label gets a tenth of what is left.
        true_probability = np.where(label_row == prediction_row, confidences, (1 - confidences) / 10)
    return PredictionRecord(
        Moment(mode, step, epoch, step),
        label_row,
        prediction_row,
        confidences.copy(),
        np.asarray(true_probability).astype(np.float32),
        (np.full(len(label_row), -1) if indices is None else np.asarray(indices)).astype(np.int64),
    )


def _snapshots(statistics: Statistics, every: int, per_epoch: int) -> list[Snapshot]:
    rows: list[tuple[str, str, Mapping[str, Any]]] = [
        (collection, name, values) for collection, tensors in statistics.items() for name, values in tensors.items()
    ]
    lengths = [len(v) for _, _, values in rows for v in values.values() if not np.isscalar(v)]
    snapshots = []
    for i in range(max(lengths, default=1)):
        table = np.zeros((len(rows), len(STATISTICS)), np.float32)
        for row, (_, _, values) in enumerate(rows):
            for statistic, series in values.items():
                # A shorter series keeps its last value.
                value = series if np.isscalar(series) else series[min(i, len(series) - 1)]
                table[row, STATISTICS.index(statistic)] = value
        names, collections = tuple(name for _, name, _ in rows), tuple(kind for kind, _, _ in rows)
        # The first snapshot is at step 1, as SaveSchedule does.
        snapshots.append(Snapshot(_moment(max(1, i * every), per_epoch), names, collections, table))
    return snapshots


def _moment(step: int, per_epoch: int) -> Moment:
    return Moment("train", step, (step - 1) // per_epoch + 1, step)
