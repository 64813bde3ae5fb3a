"""Sources of gauges, and the readings they are made of: rates of counters and readings that are taken seldom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol


class GaugeSource(Protocol):
    """A group of gauges that are read together, twice a second at next to no cost.

    The constructor raises where this machine does not have them.
    """

    def read(self) -> Mapping[str, float]:
        """Return the gauges by name, as listed in `core.profile.GaugeSample`, without those unknown at the moment."""

    def close(self) -> None:
        """Release files and libraries, if any stay open between samples. The source is not read again."""
        return


class CounterRates:
    """Growth per second of counters, since the sample before.

    The first sample gives no rate, and neither does a counter that fell, because it was reset or wrapped around.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._time, self._before = 0.0, dict[str, float]()

    def update(self, counters: Mapping[str, float]) -> dict[str, float]:
        """Return the rates of the counters that the sample before had too; {} where no time has passed."""
        now, then, before = self._clock(), self._time, self._before
        self._time, self._before = now, dict(counters)
        if now <= then:  # two samples within the resolution of the clock
            return {}
        growths = {name: value - before[name] for name, value in counters.items() if name in before}
        return {name: growth / (now - then) for name, growth in growths.items() if growth >= 0}


class ThrottledReading:
    """A reading that is too expensive for every sample: taken once in `seconds`, and {} in between.

    A reading that is empty the first time is never taken again: this machine does not have it.
    """

    def __init__(
        self,
        read: Callable[[], Mapping[str, float]],
        *,
        seconds: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._read, self._seconds, self._clock = read, seconds, clock
        self._due: float | None = None
        self._unavailable = False

    def read(self) -> Mapping[str, float]:
        """Return the reading if it is due, else {}."""
        now = self._clock()
        if self._unavailable or (self._due is not None and now < self._due):
            return {}
        values = self._read()
        self._unavailable = self._due is None and not values
        # From now on, not from the last deadline: a reading after a pause must not be followed by another one at once.
        self._due = now + self._seconds
        return values
