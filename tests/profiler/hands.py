"""A clock that moves when it is told to, for tests of what measures time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clearsight.profiler.timing.step_timer import StepTimer

START = 1_700_000_000.0
TICK = 1 / 1024  # sums of ticks are exact


class Hands:
    """In the place of the module time: a clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return START + self.now - 100.0

    def perf_counter(self) -> float:
        return self.now

    def wait(self, ticks: float) -> None:
        self.now += ticks * TICK


@contextmanager
def hands() -> Iterator[Hands]:
    with pytest.MonkeyPatch.context() as patch:
        clock = Hands()
        patch.setattr("clearsight.profiler.timing.step_timer.time", clock)
        yield clock


def work(clock: StepTimer, at: Hands, **ticks: float) -> None:
    """Phases one after the other."""
    for name, amount in ticks.items():
        with clock.phase(name):
            at.wait(amount)


def ticks(values: Any) -> dict[str, float]:
    return {name: seconds / TICK for name, seconds in values.items()}
