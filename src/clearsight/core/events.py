"""Events of a training run: the records that observers receive, and the status that a run ends with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from clearsight.core.finding import Finding
from clearsight.core.guard import Guard

log = logging.getLogger(__name__)

Mode = Literal["train", "eval"]


class RunStatus(StrEnum):
    """Status of a run. `completed` and `stopped_early` are final; `interrupted` and `running` can be resumed."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One optimizer step (mode "train"): `step` counts from 1 over the whole run, `epoch` from 1."""

    step: int
    epoch: int
    mode: Mode
    scalars: Mapping[str, float]
    samples: int = 0  # images in the step, of all ranks
    data_seconds: float = 0.0  # waiting for the batch
    step_seconds: float = 0.0  # the whole step, waiting included
    ids: tuple[str, ...] = ()  # of the images, where the batch knows them


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One finished epoch: scores on its training batches, and on the validation split (empty without one)."""

    epoch: int
    epochs: int
    step: int
    lr: float
    train: Mapping[str, float]
    valid: Mapping[str, float]
    images_per_second: float
    data_share: float  # share of the epoch's time spent waiting for batches, in [0, 1]
    seconds: float
    best: bool
    training: Literal["run", "refit"] = "run"  # a refit trains again, on validation images too


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """Plan of a run, shown before the first step."""

    model: str
    weights: str
    parameters: int
    trainable: int
    classes: int
    images: Mapping[str, int]  # per split
    imbalance: float  # largest over smallest class of the training split
    preprocess: str
    device: str
    precision: str
    batch_size: int
    workers: int
    epochs: int
    steps: int
    lr: float
    seconds: float  # estimated duration; about 0 where features are cached
    cached: str  # names of the phases on cached features, "" for none
    notes: tuple[str, ...] = ()
    measured: str = ""  # what the profiler measures
    default: str = ""  # what --freeze auto came to, why, and how long the other choice takes
    saved: tuple[str, ...] = ()  # lines on what the debugger saves, and which rules get enough of it


StepName = Literal["verdicts", "calibration", "refit", "model", "onnx", "evaluation", "report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedStep:
    """A step after the training that failed; the training and the other steps are not affected.

    problem: one sentence.  command: repeats the step.  traceback: of an error that is not the user's, for log.txt.
    """

    step: StepName
    problem: str
    command: str
    traceback: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields that run.json keeps."""
        return {"step": self.step, "problem": self.problem, "command": self.command}


class Observer(Protocol):
    """Receives every event of a run, in order, on the training thread of rank 0.

    vital: an error of a vital observer stops the run; another one is reported once and receives nothing more.
    """

    vital: bool

    def on_plan(self, plan: RunPlan) -> None: ...
    def on_step(self, record: StepRecord) -> None: ...
    def on_epoch(self, record: EpochRecord) -> None: ...
    def on_finding(self, finding: Finding) -> None: ...
    def on_resolved(self, finding: Finding) -> None: ...
    def on_remark(self, remark: str) -> None: ...
    def on_failed_step(self, failed: FailedStep) -> None: ...
    def on_end(self, status: RunStatus, reason: str) -> None: ...


class NullObserver:
    """Observer that does nothing; a base for observers of single events."""

    vital = True  # the safe default: an observer that writes results must not fail unnoticed

    def on_plan(self, plan: RunPlan) -> None:
        """Called once, before the first step."""

    def on_step(self, record: StepRecord) -> None:
        """Called after each optimizer step."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch."""

    def on_finding(self, finding: Finding) -> None:
        """Called when a rule first finds something."""

    def on_resolved(self, finding: Finding) -> None:
        """Called when a rule no longer finds what `on_finding` has shown: its verdict, with `resolved`."""

    def on_remark(self, remark: str) -> None:
        """Called when the training has decided something by its own results: one sentence."""

    def on_failed_step(self, failed: FailedStep) -> None:
        """Called when a step after the training has failed, before the next step."""

    def on_end(self, status: RunStatus, reason: str) -> None:
        """Called once, however the run ended, unless the process was killed."""


def scalars_of(record: StepRecord) -> dict[str, float]:
    """Return every number of a step that is stored: its scalars and its durations."""
    return {**record.scalars, "step_seconds": record.step_seconds, "data_seconds": record.data_seconds}


class ObserverList:
    """Observer that passes each event to all observers in order.

    The error of a vital observer stops the run. Another observer is off after its first error, which is logged and
    added to `failures`. The list is an observer itself, so that several lists can share these guards.
    """

    vital = True  # as a member of another list it guards its observers itself

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._guarded = [(observer, Guard(type(observer).__name__, report=self._report)) for observer in observers]
        self.failures: list[str] = []

    def on_plan(self, plan: RunPlan) -> None:
        self._notify(lambda observer: observer.on_plan(plan))

    def on_step(self, record: StepRecord) -> None:
        self._notify(lambda observer: observer.on_step(record))

    def on_epoch(self, record: EpochRecord) -> None:
        self._notify(lambda observer: observer.on_epoch(record))

    def on_finding(self, finding: Finding) -> None:
        self._notify(lambda observer: observer.on_finding(finding))

    def on_resolved(self, finding: Finding) -> None:
        self._notify(lambda observer: observer.on_resolved(finding))

    def on_remark(self, remark: str) -> None:
        self._notify(lambda observer: observer.on_remark(remark))

    def on_failed_step(self, failed: FailedStep) -> None:
        self._notify(lambda observer: observer.on_failed_step(failed))

    def on_end(self, status: RunStatus, reason: str) -> None:
        self._notify(lambda observer: observer.on_end(status, reason))

    def _notify(self, event: Callable[[Observer], None]) -> None:
        for observer, guard in self._guarded:
            if observer.vital:
                event(observer)  # without a guard: its error must reach the run
            else:
                guard.run(event, observer)

    def _report(self, sentence: str) -> None:
        self.failures.append(sentence)
        log.warning("%s", sentence)
