"""SavedTensor: the values and statistics that were saved of one tensor or scalar of a run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadChoice
from clearsight.core.tensors import BINS, STATISTICS, Mode, Moment, RawTensor, Snapshot
from clearsight.debugger.storage.index import BlobReader, IndexEntry

Value = float | npt.NDArray[Any]
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class SavedTensor:
    """One name over the steps of a run. Arrays are read from disk when they are requested.

    scalars: by mode, for a scalar.  snapshots: by mode, those with its statistics.  raws: by mode, those with its
    values.
    """

    name: str
    collection: str
    scalars: Mapping[Mode, Sequence[tuple[Moment, float]]] = field(default_factory=dict)
    snapshots: Mapping[Mode, Sequence[IndexEntry]] = field(default_factory=dict)
    raws: Mapping[Mode, Sequence[IndexEntry]] = field(default_factory=dict)

    def modes(self) -> list[Mode]:
        """Return the modes in which it was saved."""
        return list(dict.fromkeys([*self.scalars, *self.raws, *self.snapshots]))

    def steps(self, mode: Mode = "train") -> list[int]:
        """Return the steps of the mode at which a value or statistics were saved, ascending."""
        return sorted({at.step for at in self._moments(mode)})

    def value(self, step: int, mode: Mode = "train") -> Value:
        """Return the value at a step: a number for a scalar (the mean where a step has several), else the array.

        Of an array that was saved several times in a step this is the last. Raises BadChoice where the step was not
        saved, or only statistics were.
        """
        self._check(step, mode)
        if numbers := [value for at, value in self.scalars.get(mode, ()) if at.step == step]:
            return float(np.mean(numbers))  # one value per accumulated batch
        whole = [entry for entry in self.raws.get(mode, ()) if entry.at.step == step]
        if not whole:
            raise self._only_statistics(f" at {mode} step {step}", mode)
        record = whole[-1].load()
        assert isinstance(record, RawTensor)
        return record.value

    def values(self, mode: Mode = "train") -> dict[int, Value]:
        """Return the value at every step that has one. Raises BadChoice where only statistics were saved."""
        if self.scalars.get(mode):
            return dict(self._numbers(mode))
        steps = {entry.at.step for entry in self.raws.get(mode, ())}
        if not steps and self.snapshots.get(mode):
            raise self._only_statistics("", mode)
        return {step: self.value(step, mode) for step in sorted(steps)}

    def reduction(self, statistic: str, mode: Mode = "train", steps: Sequence[int] | None = None) -> dict[int, float]:
        """Return one of STATISTICS over the saved steps: as it was stored, or computed where only the values were.

        steps: None for all.  Raises BadChoice for a statistic that is not known.
        """
        if statistic not in STATISTICS:
            raise BadChoice(statistic, "there is no such statistic", got=statistic, allowed=STATISTICS)
        column = STATISTICS.index(statistic)
        return {step: float(row[column]) for step, row in self._rows(mode, steps)}

    def curve(self, mode: Mode = "train", statistic: str = "l2") -> dict[int, float]:
        """Return one number per saved step: a scalar's value, or a statistic of a tensor."""
        return dict(self._numbers(mode)) if self.scalars.get(mode) else self.reduction(statistic, mode)

    def reductions(self, step: int, mode: Mode = "train") -> dict[str, float]:
        """Return all STATISTICS at a step. Raises BadChoice where the step was not saved."""
        self._check(step, mode)
        row = next(row for _, row in self._rows(mode, [step]))
        return {name: float(value) for name, value in zip(STATISTICS, row, strict=True)}

    def histogram(self, step: int, mode: Mode = "train") -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Return counts (B,) and edges (B + 1,) of the finite values at a step, stored or computed from the values.

        Raises BadChoice where the step was not saved, or without histograms.
        """
        self._check(step, mode)
        for entry in self.snapshots.get(mode, ()):
            snapshot = entry.load() if entry.at.step == step else None
            if isinstance(snapshot, Snapshot) and snapshot.histograms is not None:
                row = snapshot.names.index(self.name)
                return snapshot.histograms[row], edges(snapshot.table[row])
        if not self.raws.get(mode) and not self.scalars.get(mode):
            raise BadChoice(f"histogram of {self.name}", "none was saved", fix='Watch the run with save="full".')
        return histogram_of(np.asarray(self.value(step, mode)))

    def to_frame(self) -> Any:
        """Return a row per mode and step: a pandas DataFrame where pandas is installed, else a list of dicts.

        Columns: mode, step, epoch, train_step, and then `value` for a scalar, or the STATISTICS.
        """
        rows: list[dict[str, Any]] = []
        for mode in self.modes():
            moments = {at.step: at for at in self._moments(mode)}
            if self.scalars.get(mode):
                named = {step: {"value": value} for step, value in self._numbers(mode)}
            else:
                named = {step: dict(zip(STATISTICS, row.tolist(), strict=True)) for step, row in self._rows(mode)}
            for step, columns in named.items():
                at = moments[step]
                rows.append({"mode": mode, "step": step, "epoch": at.epoch, "train_step": at.train_step, **columns})
        # pandas is no dependency: people who have it get a frame.
        if importlib.util.find_spec("pandas") is None:
            return rows
        return importlib.import_module("pandas").DataFrame(rows)

    def _numbers(self, mode: Mode) -> Iterator[tuple[int, float]]:
        by_step: dict[int, list[float]] = {}
        for at, value in self.scalars[mode]:
            by_step.setdefault(at.step, []).append(value)
        return ((step, float(np.mean(values))) for step, values in sorted(by_step.items()))

    def _rows(self, mode: Mode, steps: Sequence[int] | None = None) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield steps and their rows of statistics (K,), ascending; computed where they were not stored."""
        # Stored statistics come first: they are read without the whole tensor.
        stored = {entry.at.step: entry for entry in self.snapshots.get(mode, ())}
        blobs = BlobReader()
        for step in self.steps(mode) if steps is None else steps:
            snapshot = stored[step].load(blobs) if step in stored else None
            if isinstance(snapshot, Snapshot):
                yield step, snapshot.table[snapshot.names.index(self.name)]
            else:
                yield step, statistics_of(np.asarray(self.value(step, mode)))

    def _moments(self, mode: Mode) -> Iterator[Moment]:
        yield from (at for at, _ in self.scalars.get(mode, ()))
        yield from (entry.at for entry in (*self.snapshots.get(mode, ()), *self.raws.get(mode, ())))

    def _check(self, step: int, mode: Mode) -> None:
        steps = self.steps(mode)
        if step in steps:
            return
        subject = f"{self.name} at {mode} step {step}"
        if not steps:
            raise BadChoice(subject, f"it was not saved in {mode}", got=mode, allowed=self.modes())
        near = [*[s for s in steps if s < step][-1:], *[s for s in steps if s > step][:1]]
        nearest = " and ".join(map(str, near))
        raise BadChoice(subject, f"it was not saved at this step; the nearest saved steps are {nearest}")

    def _only_statistics(self, where: str, mode: Mode) -> BadChoice:
        return BadChoice(
            f"{self.name}{where}",
            f"its values were not saved, only the statistics {', '.join(STATISTICS)}",
            fix=f'Call reduction("mean", mode="{mode}"), or name the tensor in save to save its values.',
        )


def edges(row: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the edges (B + 1,) of the bins of a histogram, from a tensor's statistics (K,)."""
    low, high = row[STATISTICS.index("min")], row[STATISTICS.index("max")]
    return np.linspace(float(low), float(high), BINS + 1)


def histogram_of(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return counts (B,) and edges (B + 1,), evenly from the least to the largest finite value; equal values: bin 0."""
    finite = _finite(values)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    # np.histogram would invent a range of 1 around equal values.
    if low == high:
        counts = np.zeros(BINS, np.float32)
        counts[0] = finite.size
        return counts, np.full(BINS + 1, low)
    counts, bin_edges = np.histogram(finite, BINS, (low, high))
    return counts.astype(np.float32), bin_edges


def statistics_of(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return STATISTICS (K,) of an array of any shape: NaN and infinity are counted, the rest is of the others."""
    # In float64: squares of large float16 or float32 values overflow.
    flat, finite = np.asarray(values, np.float64).ravel(), _finite(values)
    moments, quantiles = np.zeros(7), np.zeros(len(_QUANTILES))
    if finite.size:
        l2, zeros = np.linalg.norm(finite), np.mean(finite == 0)
        moments[:] = finite.mean(), finite.std(), finite.min(), finite.max(), np.abs(finite).mean(), l2, zeros
        quantiles = np.quantile(finite, _QUANTILES)
    return np.array([flat.size, *moments, np.isnan(flat).sum(), np.isinf(flat).sum(), *quantiles], np.float64)


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    flat = np.asarray(values, np.float64).ravel()
    return flat[np.isfinite(flat)]
