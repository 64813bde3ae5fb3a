"""Events of a training run: the records that observers receive, and the status that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from clearsight.core.finding import Finding

Mode = Literal["train", "eval"]


class RunStatus(StrEnum):
    """How a run stands. Only `completed` and `stopped_early` are ends; `interrupted` and `running` can be resumed."""

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
    samples: int = 0  # images in the step, over all ranks
    data_seconds: float = 0.0  # waited for the batch
    step_seconds: float = 0.0  # the whole step, waiting included
    ids: tuple[str, ...] = ()  # which images, where the batch knows


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One finished epoch: scores on the training batches as seen, and on the validation split (empty without one)."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What a run is about to do, shown before the first step."""

    model: str
    weights: str
    parameters: int
    trainable: int
    classes: int
    images: Mapping[str, int]  # per split
    imbalance: float
    preprocess: str
    device: str
    precision: str
    batch_size: int
    workers: int
    epochs: int
    steps: int
    lr: float
    seconds: float  # estimate; about 0 where features are cached
    cached: str  # "" or what the feature cache holds
    notes: tuple[str, ...] = ()
    measured: str = ""  # what the profiler measures
    saved: tuple[str, ...] = ()  # what the debugger will save, and which rules get how much


class Observer(Protocol):
    """Receives every event of a run, in order, on the training thread of rank 0. All methods are optional to act on.

    vital: when an observer fails, a vital one stops the run; a non-vital one is reported once and left out after that.
    """

    vital: bool

    def on_plan(self, plan: RunPlan) -> None: ...

    def on_step(self, record: StepRecord) -> None: ...

    def on_epoch(self, record: EpochRecord) -> None: ...

    def on_finding(self, finding: Finding) -> None: ...

    def on_end(self, status: RunStatus, reason: str) -> None: ...


class NullObserver:
    """The observer that does nothing; a base for those that care about one event."""

    vital = True

    def on_plan(self, plan: RunPlan) -> None:
        """Called once, before the first step."""

    def on_step(self, record: StepRecord) -> None:
        """Called after each optimizer step."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch."""

    def on_finding(self, finding: Finding) -> None:
        """Called when the debugger first finds something, and when it did something about it."""

    def on_end(self, status: RunStatus, reason: str) -> None:
        """Called once, however the run ended, unless the process was killed."""


def scalars_of(record: StepRecord) -> dict[str, float]:
    """Every number of a step that is kept: its scalars and how long it took."""
    return {**record.scalars, "step_seconds": record.step_seconds, "data_seconds": record.data_seconds}


def as_dict(record: StepRecord | EpochRecord | RunPlan) -> dict[str, Any]:
    """A record as plain JSON values."""
    return asdict(record)
