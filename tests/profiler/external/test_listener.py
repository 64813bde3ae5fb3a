"""Watch: a stopwatch of any kind, and a listener whose failures stay with it."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.profile import Machine
from clearsight.profiler.external.listener import LoopTimer, attempted
from clearsight.profiler.recording import Recording
from clearsight.profiler.timing.step_timer import StepTimer


def test_clocks_and_recordings_are_watches(tmp_path: Path) -> None:
    watches: list[LoopTimer] = [StepTimer(None), Recording(tmp_path, Machine())]
    for watch in watches:
        with watch.phase("forward"):
            watch.cut()


class Listening:
    """Fails at zero."""

    def __init__(self) -> None:
        self.failure, self.silent, self.heard = "", False, list[float]()

    def fail(self, error: Exception) -> None:
        self.failure = str(error)

    @attempted
    def hears(self, number: int) -> bool:
        self.heard.append(1 / number)
        return True


def test_after_a_failure_nothing_is_heard() -> None:
    listening = Listening()
    assert [listening.hears(2), listening.hears(0), listening.hears(1)] == [True, False, False]
    assert listening.failure == "division by zero"
    assert listening.heard == [0.5]


def test_who_is_silent_hears_nothing() -> None:
    listening = Listening()
    listening.silent = True
    assert not listening.hears(1)
    assert listening.heard == []
