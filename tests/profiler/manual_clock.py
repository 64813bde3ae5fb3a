"""A clock that stands still until the test moves it, for tests of what measures time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clearsight.profiler.timing.step_timer import StepTimer

START = 1_700_000_000.0
TICK = 1 / 1024  # sums of ticks are exact


class ManualTime:
    """Stand-in for the module `time` whose clocks move by `wait` alone."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return START + self.now - 100.0

    def perf_counter(self) -> float:
        return self.now

    def wait(self, ticks: float) -> None:
        self.now += ticks * TICK


@contextmanager
def manual_time() -> Iterator[ManualTime]:
    """Replace the clocks of step timers within the block."""
    with pytest.MonkeyPatch.context() as patch:
        clock = ManualTime()
        patch.setattr("clearsight.profiler.timing.step_timer.time", clock)
        patch.setattr("clearsight.profiler.timing.step_log.time", clock)
        yield clock


def work(timer: StepTimer, clock: ManualTime, **ticks: float) -> None:
    """Go through phases one after the other, each for so many ticks."""
    for name, amount in ticks.items():
        with timer.phase(name):
            clock.wait(amount)


def ticks(values: Any) -> dict[str, float]:
    """Return seconds by name in ticks."""
    return {name: seconds / TICK for name, seconds in values.items()}
