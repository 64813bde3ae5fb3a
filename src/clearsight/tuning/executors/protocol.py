"""What a study and its workers say to each other: one JSON object a line, nothing that could be code."""

from __future__ import annotations

import json
from typing import Any

from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, EpochDone, ExecutorEvent
from clearsight.core.trial import TrialResult


def line(value: Any) -> bytes:
    """A message as it goes over a pipe. Python's NaN and Infinity are understood at the other end."""
    return json.dumps(value).encode() + b"\n"


def begun(assignment: Assignment) -> dict[str, Any]:
    """An assignment was taken up."""
    return {"begun": assignment.key}


def epoch_done(number: int, epoch: int, scores: dict[str, float]) -> dict[str, Any]:
    """A trial has finished an epoch."""
    return {"epoch": epoch, "trial": number, "scores": scores}


def done(assignment: Assignment, outcomes: list[TrialResult]) -> dict[str, Any]:
    """An assignment is over."""
    return {"done": assignment.key, "outcomes": [outcome.to_json() for outcome in outcomes]}


def event_of(worker: int, message: dict[str, Any]) -> ExecutorEvent:
    """A worker's message as an event."""
    if "begun" in message:
        return AssignmentStarted(worker=worker, key=message["begun"])
    if "epoch" in message:
        return EpochDone(worker=worker, number=message["trial"], epoch=message["epoch"], scores=message["scores"])
    outcomes = tuple(TrialResult.from_json(one) for one in message["outcomes"])
    return AssignmentDone(worker=worker, key=message["done"], outcomes=outcomes)
