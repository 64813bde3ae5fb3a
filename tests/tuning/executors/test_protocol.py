"""A worker and its study speak JSON lines; what one says the other hears."""

from __future__ import annotations

import json
import math

from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, EpochDone, ExecutorEvent
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.executors import protocol as messages

ASSIGNMENT = Assignment(key=9, tasks=(), data="/d", metrics=("accuracy",))


def over_the_line(message: dict[str, object]) -> ExecutorEvent:
    sent = messages.line(message)
    assert sent.endswith(b"\n")
    assert sent.count(b"\n") == 1
    return messages.event_of(2, json.loads(sent))


def test_begun() -> None:
    assert over_the_line(messages.begun(ASSIGNMENT)) == AssignmentStarted(worker=2, key=9)


def test_an_epoch_with_its_scores() -> None:
    said = messages.epoch_done(4, 3, {"accuracy": 0.1 + 0.2})
    assert over_the_line(said) == EpochDone(worker=2, number=4, epoch=3, scores={"accuracy": 0.1 + 0.2})


def test_a_score_that_is_no_number_stays_none() -> None:
    heard = over_the_line(messages.epoch_done(4, 3, {"loss": math.nan, "accuracy": math.inf}))
    assert isinstance(heard, EpochDone)
    assert math.isnan(heard.scores["loss"])
    assert heard.scores["accuracy"] == math.inf


def test_done_with_outcomes() -> None:
    outcomes = [
        TrialResult(number=4, state=TrialState.COMPLETE, values=(0.5, 2.0), curve={1: {"accuracy": 0.5}}, best_epoch=1),
        TrialResult(number=5, state=TrialState.FAILED, reason='it said "no"\nand stopped'),
    ]
    assert over_the_line(messages.done(ASSIGNMENT, outcomes)) == AssignmentDone(
        worker=2, key=9, outcomes=tuple(outcomes)
    )
