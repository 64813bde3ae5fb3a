"""Executor: the protocol of everything that runs the trials of a study, with its assignments, events and arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from clearsight.core.trial import TrialResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """A trial for a worker: its recipe (flat, as JSON values) and its folder."""

    number: int
    folder: str  # text, not a Path: a worker may run another system, and JSON has none
    recipe: Mapping[str, Any]  # with every field, so that a worker needs neither the study nor its recipe.yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Work for one worker: one trial, or several that train together.

    key: identifies the assignment.  metrics: of the objectives, in their order.
    prunable: the study replies to every epoch, and the worker waits for it, because a pruner may end the trial there.
    deliver: the trials have ended; the worker makes a model of each, measures it on the test split, and trains nothing
    that is there.
    """

    key: int
    tasks: tuple[TrialTask, ...]
    data: str
    metrics: tuple[str, ...]
    prunable: bool = False
    deliver: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads."""
        return {**asdict(self), "tasks": [asdict(task) for task in self.tasks]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Assignment:
        tasks = tuple(TrialTask(**task) for task in values["tasks"])
        return cls(**{**values, "tasks": tasks, "metrics": tuple(values["metrics"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochDone:
    """A trial finished an epoch with these scores on the validation split."""

    worker: int
    number: int
    epoch: int
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentStarted:
    """A worker started an assignment."""

    worker: int
    key: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentDone:
    """An assignment ended. results: of its trials that ended; a trial without a result was interrupted."""

    worker: int
    key: int
    results: tuple[TrialResult, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLost:
    """A worker died during an assignment. reason: one sentence.  log: the end of the worker's log."""

    worker: int
    key: int
    reason: str
    log: str = ""


ExecutorEvent: TypeAlias = EpochDone | AssignmentStarted | AssignmentDone | WorkerLost


class Executor(Protocol):
    """Runs assignments, several at a time. One thread uses it; only `events` and `close` wait.

    A worker that dies costs its assignment, reported as WorkerLost, and never the executor. The executor retries
    nothing: the study counts the attempts.
    """

    slots: int  # assignments at a time

    def start(self, assignment: Assignment) -> None:
        """Give an assignment to a free worker; the caller has made sure that one is free."""

    def reply(self, number: int, epoch: int, stop: str) -> None:
        """Reply to an epoch of a trial: "" to continue, or the reason for which the trial ends."""

    def interrupt(self) -> None:
        """Ask every worker to leave its trials resumable and to end; AssignmentDone follows for each assignment."""

    def events(self, seconds: float) -> list[ExecutorEvent]:
        """Return the events since the last call; wait at most `seconds` for the first one."""

    def close(self) -> None:
        """End all workers, whatever they are doing, and release everything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorSpec:
    """Arguments of every executor: the number of workers, their program, and their shares of a machine or a cluster.

    slots: assignments at a time.
    command: starts a worker process of this machine; the executor adds the number of the pipe that it writes to.
    runner: "module:attribute" of a callable, for workers without such a command, as on a cluster. It is called with the
    resources and returns an object with `run(assignment, reporter) -> list[TrialResult]`.
    resources: slot -> the worker's share of the machine, as JSON values.
    logs: folder for the logs of the workers.
    address: of a cluster; "" starts one.
    cpus, gpus: of each trial on a cluster; None for the executor's default.
    """

    slots: int
    command: Sequence[str]
    runner: str  # a name and not the object, because a cluster's workers are other processes
    resources: Callable[[int], Mapping[str, Any]]
    logs: Path
    address: str = ""
    cpus: float | None = None
    gpus: float | None = None
