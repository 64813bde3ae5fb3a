"""No observer fails in silence, and only a vital one stops the run."""

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


class Listening(NullObserver):
    """Collects how runs ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[RunStatus, str]] = []

    def on_end(self, status: RunStatus, reason: str) -> None:
        self.ends.append((status, reason))


def test_a_vital_observer_stops_the_run() -> None:
    with pytest.raises(OSError, match="disk gone"):
        ObserverList([Breaking(vital=True)]).on_step(STEP)


def test_all_get_the_end_though_one_that_is_not_vital_fails() -> None:
    listening = Listening()
    ObserverList([Breaking(vital=False), listening]).on_end(RunStatus.FAILED, "disk gone")
    assert listening.ends == [(RunStatus.FAILED, "disk gone")]


def test_one_that_is_not_vital_is_reported_once_and_off_after_that(caplog: pytest.LogCaptureFixture) -> None:
    observer = Breaking(vital=False)
    observers = ObserverList([observer])
    observers.on_step(STEP)
    observers.on_step(STEP)
    assert observer.calls == 1
    assert observers.failures == ["Breaking failed and is off: OSError: disk gone"]
    assert caplog.messages == observers.failures


def test_a_list_inside_of_a_list_reports_its_observer_once() -> None:
    """A run announces some events itself, and its training loops the others."""
    observer = Breaking(vital=False)
    run = ObserverList([observer])
    ObserverList([run]).on_step(STEP)
    ObserverList([run]).on_step(STEP)
    run.on_end(RunStatus.COMPLETED, "")
    assert observer.calls == 1
    assert len(run.failures) == 1


def test_a_vital_observer_stops_the_run_from_inside_of_a_list_too() -> None:
    with pytest.raises(OSError, match="disk gone"):
        ObserverList([ObserverList([Breaking(vital=True)])]).on_step(STEP)
