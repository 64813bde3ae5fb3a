"""Messages between a study and its workers: JSON objects, one per line of a pipe; none of them can contain code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.executor import Assignment, AssignmentDone, AssignmentStarted, EpochDone, ExecutorEvent
from clearsight.core.trial import TrialResult

Message = dict[str, Any]


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line. Scores may be NaN or infinite: Python's json writes and reads both."""
    return json.dumps(message).encode() + b"\n"


def work(assignment: Assignment) -> Message:
    """Return the message that starts an assignment."""
    return {"do": "work", "assignment": assignment.to_json()}


def reply(number: int, epoch: int, stop: str) -> Message:
    """Return the message that replies to an epoch."""
    return {"do": "reply", "trial": number, "epoch": epoch, "stop": stop}


def interrupt() -> Message:
    """Return the message that interrupts the current assignment."""
    return {"do": "interrupt"}


def started(assignment: Assignment) -> Message:
    """Return the message that an assignment has started."""
    return {"started": assignment.key}


def epoch_done(number: int, epoch: int, scores: Mapping[str, float]) -> Message:
    """Return the message that a trial has finished an epoch."""
    return {"epoch": epoch, "trial": number, "scores": dict(scores)}


def done(assignment: Assignment, results: Sequence[TrialResult]) -> Message:
    """Return the message that an assignment has ended."""
    return {"done": assignment.key, "results": [result.to_json() for result in results]}


def event_from(worker: int, message: Mapping[str, Any]) -> ExecutorEvent:
    """Return a worker's message as an event."""
    # The key tells the kinds apart; there is no message without one of the three.
    if "started" in message:
        return AssignmentStarted(worker=worker, key=message["started"])
    if "epoch" in message:
        return EpochDone(worker=worker, number=message["trial"], epoch=message["epoch"], scores=message["scores"])
    results = tuple(TrialResult.from_json(result) for result in message["results"])
    return AssignmentDone(worker=worker, key=message["done"], results=results)
