"""Words of the status, stored scalars of a step, a null observer, and a list in which none fails unseen."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from clearsight.core.events import EpochRecord, NullObserver, ObserverList, RunStatus, StepRecord, scalars_of
from clearsight.core.finding import Finding, Verdict

STEP = StepRecord(
    step=7, epoch=2, mode="train", scalars={"loss": 0.5, "lr": 1e-3}, samples=16, data_seconds=0.25, step_seconds=1.0
)
EPOCH = EpochRecord(
    epoch=2,
    epochs=3,
    step=7,
    lr=1e-3,
    train={"loss": 0.5},
    valid={"loss": 0.6},
    images_per_second=16.0,
    data_share=0.25,
    seconds=7.0,
    best=True,
)


def test_the_words_of_the_status_in_run_json() -> None:
    assert [status.value for status in RunStatus] == [
        *("running", "completed", "stopped_early", "interrupted", "diverged", "failed"),
    ]


def test_stored_scalars_of_a_step_include_its_durations() -> None:
    assert scalars_of(STEP) == {"loss": 0.5, "lr": 1e-3, "step_seconds": 1.0, "data_seconds": 0.25}
    assert STEP.scalars == {"loss": 0.5, "lr": 1e-3}


def test_records_are_plain_json() -> None:
    for record in (STEP, EPOCH):
        values = json.loads(json.dumps(asdict(record)))
        assert values["epoch"] == record.epoch
    assert json.loads(json.dumps(asdict(EPOCH)))["valid"] == {"loss": 0.6}


def test_the_null_observer_accepts_every_event_and_is_vital() -> None:
    observer = NullObserver()
    observer.on_step(STEP)
    observer.on_epoch(EPOCH)
    observer.on_finding(Finding(rule="Overfit", verdict=Verdict.CLEAR))
    observer.on_end(RunStatus.COMPLETED, "")
    assert observer.vital is True  # an observer is not vital only where its class says so


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
