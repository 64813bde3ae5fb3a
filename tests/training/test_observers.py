"""No observer fails in silence, and only a vital one takes the run with it."""

import pytest

from clearsight.core.events import NullObserver, RunStatus, StepRecord
from clearsight.training.observers import ObserverList

STEP = StepRecord(step=1, epoch=1, mode="train", scalars={"loss": 1.0})


class Breaking(NullObserver):
    """Fails at each step and at the end."""

    def __init__(self, vital: bool) -> None:
        self.vital, self.calls = vital, 0

    def on_step(self, record: StepRecord) -> None:
        self.calls += 1
        raise OSError("disk gone")

    def on_end(self, status: RunStatus, reason: str) -> None:
        raise OSError("disk gone")


def test_a_vital_observer_stops_the_run() -> None:
    with pytest.raises(OSError, match="disk gone"):
        ObserverList([Breaking(vital=True)]).step(STEP)


def test_the_end_is_told_to_all_and_not_even_there_a_lesser_observer_stops_the_run() -> None:
    told = []

    class Listening(NullObserver):
        def on_end(self, status: RunStatus, reason: str) -> None:
            told.append((status, reason))

    ObserverList([Breaking(vital=False), Listening()]).end(RunStatus.FAILED, "disk gone")
    assert told == [(RunStatus.FAILED, "disk gone")]


def test_another_one_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    observer = Breaking(vital=False)
    announcer = ObserverList([observer])
    announcer.step(STEP)
    announcer.step(STEP)
    assert observer.calls == 1
    assert announcer.failures == ["Breaking failed and was left out: disk gone"]
    assert caplog.messages == announcer.failures
