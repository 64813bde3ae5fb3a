"""Seldom: a reading that costs too much for every look, taken now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class ThrottledReading:
    """Takes a reading when `seconds` have gone by since it was last taken; between, there is none.

    A reading that gives nothing the first time is not taken again: this machine does not have it.
    """

    def __init__(
        self,
        take: Callable[[], Mapping[str, float]],
        *,
        seconds: float = 5.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._take, self._seconds, self._clock = take, seconds, clock
        self._due: float | None = None
        self._given_up = False

    def read(self) -> Mapping[str, float]:
        """The reading where it is due, else {}."""
        now = self._clock()
        if self._given_up or (self._due is not None and now < self._due):
            return {}
        taken = self._take()
        self._given_up = self._due is None and not taken
        self._due = now + self._seconds
        return taken
