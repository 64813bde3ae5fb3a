"""Messages of a worker arrive as the events that they report."""

from __future__ import annotations

import json
import math

from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, EpochDone, ExecutorEvent
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.executors import protocol

ASSIGNMENT = Assignment(key=9, tasks=(), data="/d", metrics=("accuracy",))


def transmit(message: dict[str, object]) -> ExecutorEvent:
    sent = protocol.encode(message)
    assert sent.endswith(b"\n")
    assert sent.count(b"\n") == 1
    return protocol.event_from(2, json.loads(sent))


def test_started() -> None:
    assert transmit(protocol.started(ASSIGNMENT)) == AssignmentStarted(worker=2, key=9)


def test_an_epoch_arrives_with_its_scores() -> None:
    message = protocol.epoch_done(4, 3, {"accuracy": 0.1 + 0.2})
    assert transmit(message) == EpochDone(worker=2, number=4, epoch=3, scores={"accuracy": 0.1 + 0.2})


def test_nan_and_infinity_arrive() -> None:
    event = transmit(protocol.epoch_done(4, 3, {"loss": math.nan, "accuracy": math.inf}))
    assert isinstance(event, EpochDone)
    assert math.isnan(event.scores["loss"])
    assert event.scores["accuracy"] == math.inf


def test_done_arrives_with_results() -> None:
    results = [
        TrialResult(number=4, state=TrialState.COMPLETE, values=(0.5, 2.0), curve={1: {"accuracy": 0.5}}, best_epoch=1),
        TrialResult(number=5, state=TrialState.FAILED, reason='it said "no"\nand stopped'),
    ]
    assert transmit(protocol.done(ASSIGNMENT, results)) == AssignmentDone(worker=2, key=9, results=tuple(results))
