"""Tape: the records of a run in memory, in order. It is the RunView of a running training and of a saved run alike.

A running training adds records as they come, a replay adds those of the store: rules see the same numbers either way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.profile import Profile
from clearsight.core.tensors import (
    COLLECTIONS,
    MODES,
    STATISTICS,
    Event,
    Mode,
    Moment,
    PredictionRecord,
    RawTensor,
    SavedRecord,
    Scalars,
    Snapshot,
)
from clearsight.core.view import Curve, EvaluationTable, FormerNames, PredictionTable, StatisticTable

_Layout = tuple[tuple[str, ...], tuple[str, ...]]  # names and collections of a snapshot
_VALID = "valid_"  # scores that our own loop computes over a whole epoch: mode eval, valid_loss, valid_accuracy


class Tape(FormerNames):
    """Records in the order of arrival. `ended` is set when the run is over."""

    def __init__(
        self,
        context: RunContext | None = None,
        records: Iterable[SavedRecord] = (),
        *,
        ended: bool = False,
        profile: Profile | None = None,
    ) -> None:
        self.context, self.ended, self.profile = context or RunContext(), ended, profile or Profile()
        self.records: list[SavedRecord] = []
        self._last: dict[Mode, int] = dict.fromkeys(MODES, 0)
        self._scalars: dict[tuple[Mode, str], list[tuple[Moment, float]]] = defaultdict(list)
        self._snapshots: dict[Mode, list[Snapshot]] = defaultdict(list)
        self._layouts: dict[Mode, dict[_Layout, None]] = defaultdict(dict)  # few even where snapshots are many
        self._predictions: dict[Mode, list[PredictionRecord]] = defaultdict(list)
        self._raw: dict[tuple[Mode, str], list[tuple[Moment, npt.NDArray[Any]]]] = defaultdict(list)
        self._events: list[Event] = []
        for record in records:
            self.add(record)

    def add(self, record: SavedRecord) -> None:
        """Put a record at the end."""
        self.records.append(record)
        at = record.at
        self._last[at.mode] = max(self._last[at.mode], at.step)
        match record:
            case Scalars():
                for name, value in record.values.items():
                    self._scalars[at.mode, name].append((at, float(value)))
            case Snapshot():
                self._snapshots[at.mode].append(record)
                self._layouts[at.mode][record.names, record.collections] = None
            case PredictionRecord():
                self._predictions[at.mode].append(record)
            case RawTensor():
                self._raw[at.mode, record.name].append((at, record.value))
            case Event():
                self._events.append(record)

    def until(self, train_step: int) -> Tape:
        """Return the tape as it was after `train_step` training steps and the evaluation that followed them."""
        records = [record for record in self.records if record.at.train_step <= train_step]
        return Tape(self.context, records, profile=self.profile.until(train_step))

    def done(self, mode: Mode = "train") -> int:
        return self._last[mode]

    def scalar(self, name: str, mode: Mode = "train") -> Curve:
        points = self._scalars.get((mode, name), [])
        steps = np.array([at.step for at, _ in points], np.int64)
        epochs = np.array([at.epoch for at, _ in points], np.int64)
        values = np.array([value for _, value in points], np.float64)
        unique, first, inverse = np.unique(steps, return_index=True, return_inverse=True)
        if len(unique) == len(steps):
            return Curve(steps, epochs, values)
        # The mean of +inf and -inf is NaN, and no reason for a warning.
        with np.errstate(invalid="ignore"):
            means = np.bincount(inverse, weights=values) / np.bincount(inverse)
        return Curve(unique, epochs[first], means)

    def scalars(self, mode: Mode = "train") -> tuple[str, ...]:
        return tuple(name for kind, name in self._scalars if kind == mode)

    def evaluations(self) -> EvaluationTable:
        # Scores of an external loop come batch by batch under the plain names; those of our loop are one per epoch.
        scores = ("loss", "accuracy")
        names = {f"{_VALID}{name}" for name in scores if ("eval", f"{_VALID}{name}") in self._scalars} or set(scores)
        steps = sorted({at.train_step for name in names for at, _ in self._scalars.get(("eval", name), [])} - {0})
        # Step 0 is an evaluation before any training, which no training loss stands beside.
        train_loss, epochs = self._between("loss", steps)
        train_accuracy, _ = self._between("accuracy", steps)
        valid_loss, valid_accuracy = (self._evaluated(name, steps) for name in scores)
        numbers = np.array(steps, np.int64)
        return EvaluationTable(numbers, epochs, train_loss, valid_loss, train_accuracy, valid_accuracy)

    def names(self, collection: str, mode: Mode = "train") -> tuple[str, ...]:
        assert collection in COLLECTIONS, collection
        names: dict[str, None] = {}
        for layout in self._layouts.get(mode, ()):
            names |= dict.fromkeys(name for name, kind in zip(*layout, strict=True) if kind == collection)
        return tuple(names)

    def statistic(self, statistic: str, collection: str, mode: Mode = "train") -> StatisticTable:
        names, column = self.names(collection, mode), STATISTICS.index(statistic)
        # Names come and go where layers are frozen or released in the middle of a run: gaps are NaN.
        place = {name: i for i, name in enumerate(names)}
        homes = {layout: _homes(layout, place) for layout in self._layouts.get(mode, ())}
        snapshots = self._snapshots.get(mode, [])
        parts = [(s, *homes[s.names, s.collections]) for s in snapshots if len(homes[s.names, s.collections][0])]
        values = np.full((len(parts), len(names)), np.nan)
        for row, (snapshot, rows, columns) in enumerate(parts):
            values[row, columns] = snapshot.table[rows, column]
        steps = np.array([s.at.step for s, _, _ in parts], np.int64)
        return StatisticTable(steps, np.array([s.at.epoch for s, _, _ in parts], np.int64), names, values)

    def predictions(self, mode: Mode = "train") -> PredictionTable:
        batches = self._predictions.get(mode, [])
        sizes = [len(batch.labels) for batch in batches]

        def repeated(values: list[int]) -> npt.NDArray[np.int64]:
            return np.repeat(np.array(values, np.int64), sizes)

        def joined(field: str, kind: Any) -> npt.NDArray[Any]:
            return np.concatenate([getattr(b, field) for b in batches]).astype(kind) if batches else np.empty(0, kind)

        columns = {name: joined(name, np.int64) for name in ("labels", "predictions", "indices")}
        columns |= {name: joined(name, np.float64) for name in ("confidence", "true_probability")}
        steps, epochs = repeated([b.at.step for b in batches]), repeated([b.at.epoch for b in batches])
        return PredictionTable(steps, epochs, repeated(list(range(len(batches)))), **columns)

    def raw(self, name: str, mode: Mode = "train") -> list[tuple[Moment, npt.NDArray[Any]]]:
        return list(self._raw.get((mode, name), []))

    def events(self, kind: str) -> list[Event]:
        return [event for event in self._events if event.kind == kind]

    def _between(self, name: str, steps: list[int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return the mean of a training scalar between consecutive `steps` (the last included), and the epochs."""
        curve, means, epochs = self.scalar(name), np.full(len(steps), np.nan), np.zeros(len(steps), np.int64)
        for i, (before, step) in enumerate(pairwise([0, *steps])):
            span = (curve.steps > before) & (curve.steps <= step)
            if span.any():
                means[i], epochs[i] = curve.values[span].mean(), curve.epochs[span][-1]
        return means, epochs

    def _evaluated(self, name: str, steps: list[int]) -> npt.NDArray[np.float64]:
        points = self._scalars.get(("eval", _VALID + name), []) or self._scalars.get(("eval", name), [])
        by_step: dict[int, list[float]] = defaultdict(list)
        for at, value in points:
            by_step[at.train_step].append(value)
        return np.array([np.mean(by_step[step]) if by_step[step] else np.nan for step in steps], np.float64)


def _homes(layout: _Layout, place: dict[str, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of a snapshot whose names have a place, and those places: the columns that they go to."""
    found = [(row, place[name]) for row, name in enumerate(layout[0]) if name in place]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
