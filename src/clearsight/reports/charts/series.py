"""A scalar over the steps of a run, and how to draw a million of them with a few hundred points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ScalarSeries:
    """steps: (S,) int64, in the order of the run.  values: (S,) float64, all finite.  broken: values that were not."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    broken: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def thinned(self, points: int = 600) -> ScalarSeries:
        """At most `points` points that keep every peak: the lowest and the highest value of each of equal stretches."""
        if len(self) <= points:
            return self
        kept: set[int] = set()
        for stretch in np.array_split(np.arange(len(self)), points // 2):
            values = self.values[stretch]
            kept |= {int(stretch[values.argmin()]), int(stretch[values.argmax()])}
        index = np.array(sorted(kept))
        return ScalarSeries(self.steps[index], self.values[index], self.broken)

    def smoothed(self, points: int = 60, least: int = 1) -> ScalarSeries:
        """The median of each of at most `points` equal stretches of `least` or more, at the middle step of each."""
        points = min(points, len(self) // least)
        if points == 0 or points == len(self):
            return self
        stretches = np.array_split(np.arange(len(self)), points)
        steps = np.array([self.steps[stretch[len(stretch) // 2]] for stretch in stretches])
        return ScalarSeries(steps, np.array([np.median(self.values[stretch]) for stretch in stretches]), self.broken)


def by_name(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], ScalarSeries]:
    """(mode, name) -> its series, from rows {"step", "mode", "name", "value"} in the order of the run."""
    found: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row in rows:
        steps, values = found.setdefault((row["mode"], row["name"]), ([], []))
        steps.append(row["step"])
        values.append(float("nan") if row["value"] is None else row["value"])
    return {key: _series(steps, values) for key, (steps, values) in found.items()}


def _series(steps: list[int], values: list[float]) -> ScalarSeries:
    numbers = np.array(values, dtype=np.float64)
    finite = np.isfinite(numbers)
    return ScalarSeries(np.array(steps, dtype=np.int64)[finite], numbers[finite], int((~finite).sum()))
