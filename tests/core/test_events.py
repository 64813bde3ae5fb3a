"""Events of a run: words of the status, stored scalars of a step, and an observer that does nothing."""

from __future__ import annotations

import json
from dataclasses import asdict

from clearsight.core.events import EpochRecord, NullObserver, RunStatus, StepRecord, scalars_of
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
