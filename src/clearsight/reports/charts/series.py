"""A scalar over the steps of a run, reduced so that a chart draws a million steps with a few hundred points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ScalarSeries:
    """Scalar over steps, in the order of the run. steps: (S,) int64.  values: (S,) float64, all finite.

    broken: number of values that were left out because they were not finite.
    """

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    broken: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def thinned(self, points: int = 600) -> ScalarSeries:
        """Return at most `points` points with every peak: the lowest and highest value of each of equal parts."""
        if len(self) <= points:
            return self
        # Not every n-th step: a single spike of the loss is what a reader must see.
        indices: set[int] = set()
        for part in np.array_split(np.arange(len(self)), points // 2):
            values = self.values[part]
            indices |= {int(part[values.argmin()]), int(part[values.argmax()])}
        order = np.array(sorted(indices))
        return ScalarSeries(self.steps[order], self.values[order], self.broken)

    def smoothed(self, points: int = 60, least: int = 1) -> ScalarSeries:
        """Return the median of each of at most `points` equal parts of `least` steps or more, at their middle steps.

        The median, because the mean of a part follows a single spike.
        """
        points = min(points, len(self) // least)
        # One step per part would be the series itself.
        if points == 0 or points == len(self):
            return self
        parts = np.array_split(np.arange(len(self)), points)
        steps = np.array([self.steps[part[len(part) // 2]] for part in parts])
        return ScalarSeries(steps, np.array([np.median(self.values[part]) for part in parts]), self.broken)


def series_by_name(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], ScalarSeries]:
    """Return the series of each (mode, name) of rows {"step", "mode", "name", "value"} in the order of the run."""
    columns: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row in rows:
        steps, values = columns.setdefault((row["mode"], row["name"]), ([], []))
        steps.append(row["step"])
        # metrics.jsonl has null for NaN and infinity.
        values.append(float("nan") if row["value"] is None else row["value"])
    series = {}
    for key, (steps, values) in columns.items():
        numbers = np.array(values, dtype=np.float64)
        finite = np.isfinite(numbers)
        series[key] = ScalarSeries(np.array(steps, np.int64)[finite], numbers[finite], int((~finite).sum()))
    return series


def rounded(value: float) -> float | None:
    """Return a number for a chart with five significant digits, or None, which Plotly draws as a gap.

    A chart cannot show more digits, and full ones would double the size of the page.
    """
    return float(f"{value:.5g}") if math.isfinite(value) else None
