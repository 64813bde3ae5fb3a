"""Rates: counters that only grow, as growth per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Rates:
    """Growth per second since the look before. The first look, and a counter that fell (reset, wrapped), give none."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._time, self._before = 0.0, dict[str, float]()

    def since(self, counters: Mapping[str, float]) -> dict[str, float]:
        """Rates of those counters that were there before; {} when no time has gone by."""
        now, then, before = self._clock(), self._time, self._before
        self._time, self._before = now, dict(counters)
        if now <= then:
            return {}
        grown = {name: value - before[name] for name, value in counters.items() if name in before}
        return {name: growth / (now - then) for name, growth in grown.items() if growth >= 0}
