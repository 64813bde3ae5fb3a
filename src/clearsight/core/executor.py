"""What carries out the trials of a study: what it is given, what it tells, and the protocol that every kind keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

from clearsight.core.trial import TrialResult


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """A trial to be carried out: its recipe (flat, as JSON values) and the folder that is its own."""

    number: int
    folder: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What one worker is given at once: one trial, or several that are trained together.

    key: tells assignments apart.  metrics: of the objectives, in their order.  told: whether every epoch is answered,
    since a pruner may want to stop the trial there.  deliver: the trials are over; what they trained becomes a model
    that is measured on the test split, and nothing else is done.
    """

    key: int
    tasks: tuple[TrialTask, ...]
    data: str
    metrics: tuple[str, ...]
    told: bool = False
    deliver: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that `from_json` reads."""
        return {**asdict(self), "tasks": [asdict(task) for task in self.tasks]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Assignment:
        """The assignment that `to_json` gave."""
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
    """A worker took up an assignment."""

    worker: int
    key: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AssignmentDone:
    """An assignment is over; the outcomes of those of its trials that came to an end (others were interrupted)."""

    worker: int
    key: int
    outcomes: tuple[TrialResult, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLost:
    """A worker is gone with an assignment under way. why: one sentence.  log: the end of what it had said."""

    worker: int
    key: int
    why: str
    log: str = ""


ExecutorEvent: TypeAlias = EpochDone | AssignmentStarted | AssignmentDone | WorkerLost


class Executor(Protocol):
    """Carries out assignments, some at a time. Used by one thread; no method waits but `events` and `close`.

    A worker that dies costs its assignment, said as Lost, and never the executor. Nothing is tried again in here.
    """

    slots: int  # assignments at a time

    def start(self, assignment: Assignment) -> None:
        """Give an assignment to a free worker; there is one."""
        ...

    def answer(self, number: int, epoch: int, stop: str) -> None:
        """What is to become of a trial after an epoch that was told: go on (""), or end for this reason."""
        ...

    def interrupt(self) -> None:
        """Ask every worker to leave its trials resumable and come to an end; Done follows for each assignment."""
        ...

    def events(self, seconds: float) -> list[ExecutorEvent]:
        """What has happened, waiting at most so long for the first."""
        ...

    def close(self) -> None:
        """End all workers, whatever they do, and let go of everything."""
        ...


@contextmanager
def closing(executor: Executor) -> Iterator[Executor]:
    """The executor for the duration of the block."""
    try:
        yield executor
    finally:
        executor.close()
