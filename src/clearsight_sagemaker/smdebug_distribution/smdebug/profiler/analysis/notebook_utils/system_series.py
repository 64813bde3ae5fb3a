"""SystemSeries: system metrics by dimension and device, with their means, and a selection of them."""

from __future__ import annotations

import re
from typing import Any, Iterable, Sequence

import numpy as np

TOTAL = "total"


class SystemSeries:
    """Measurements as arrays (N, 2) of seconds since 1970 and value: dimension -> device -> array.

    show_workers: one dimension per node, such as `CPUUtilization-nodeid:algo-1`. The device `total` is the mean over
    the devices of the dimension, measurement by measurement.
    """

    def __init__(self, show_workers: bool = True) -> None:
        self._show_workers = show_workers
        self._rows: dict[str, dict[str, list[tuple[float, float]]]] = {}

    def add(self, events: Iterable[Any]) -> None:
        """Add measurements."""
        for event in events:
            dimension = f"{event.dimension}-nodeid:{event.node_id}" if self._show_workers else event.dimension
            devices = self._rows.setdefault(dimension, {})
            devices.setdefault(str(event.name), []).append((event.timestamp, event.value))

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """Return dimension -> device -> (N, 2), sorted by time, with the device `total`."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for dimension, devices in self._rows.items():
            sorted_devices = {name: np.array(sorted(rows), dtype=float) for name, rows in devices.items()}
            # Devices may have one measurement more or less.
            length = min(len(rows) for rows in sorted_devices.values())
            total = np.mean([rows[:length] for rows in sorted_devices.values()], axis=0)
            found[dimension] = {**sorted_devices, TOTAL: total}
        return found


def select(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names in which a pattern matches anywhere, each once, sorted."""
    return sorted({name for name in names if any(re.search(pattern, name) for pattern in patterns)})
