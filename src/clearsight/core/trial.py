"""Trial: one set of values from a search space, and its result; the objectives of a study, and its best trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator

from clearsight.core.errors import NOT_MISTAKES, ClearsightError
from clearsight.core.files import finite_json
from clearsight.core.records import read_record
from clearsight.core.registry import Former
from clearsight.core.space import Params
from clearsight.core.stop import StopKind, stop_kind

Direction = Literal["maximize", "minimize"]

# Possible objectives with their usual directions: validation scores at the best epoch, then facts of a run.
METRICS: dict[str, Direction] = {
    "accuracy": "maximize",
    "macro_f1": "maximize",
    "roc_auc": "maximize",
    "loss": "minimize",
    "seconds": "minimize",
    "parameters": "minimize",
    "images_per_second": "maximize",
}
SCORES = ("accuracy", "macro_f1", "roc_auc", "loss")


NullAsNan: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class TrialState(StrEnum):
    """State of a trial. A pruned trial was stopped early with a reason; its curve still informs sampler and pruner."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and its better direction."""

    metric: str
    direction: Direction

    def better(self, value: float, than: float) -> bool:
        """Return True if `value` is strictly better than `than`; equal values and NaN are not."""
        return value > than if self.direction == "maximize" else value < than


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One set of values from the space, and everything that the study knows about it.

    values: one per objective, of a complete trial; else ().  curve: epoch -> first objective on the validation split.
    seconds: of work on it, over all attempts.  started: Unix time; 0.0 while it waits.  worker: slot of its worker.
    planned: epochs that its recipe asks for.  reason: why it was pruned or failed, one sentence.
    same_as: the trial with the same recipe whose result it shares.  source: the earlier study that it comes from.
    saved_seconds: time of forward passes that the feature cache made unnecessary.
    """

    number: int
    state: TrialState
    params: Params
    values: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    stop_kind: StopKind | None = None
    started: float = 0.0
    seconds: float = 0.0
    worker: int | None = None
    planned: int = 0
    best_epoch: int | None = None
    attempts: int = 1
    same_as: int | None = None
    source: str = ""
    saved_seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Number of epochs that were trained; 0 for a trial that shares another one's result."""
        # The curve of a shared result cost nothing again.
        return max(self.curve, default=0) if self.same_as is None else 0

    @property
    def imported(self) -> bool:
        """Return True for a trial of an earlier study, which informs the search and counts for nothing else."""
        return bool(self.source)

    @property
    def own(self) -> bool:
        """Former name of the opposite of `imported`."""
        return not self.source

    spared_seconds = Former[float]("saved_seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """Result of a trial. A worker writes it to outcome.json in the trial's folder before it reports it.

    state: never running; an interrupted trial has no result.  curve: epoch -> scores of the validation split.
    """

    number: int
    state: TrialState
    values: tuple[NullAsNan, ...] = ()
    reason: str = ""
    stop_kind: StopKind | None = None
    curve: Mapping[int, Mapping[str, NullAsNan]] = field(default_factory=dict)
    scores: Mapping[str, NullAsNan] = field(default_factory=dict)
    best_epoch: int | None = None
    started: float = 0.0
    seconds: float = 0.0
    saved_seconds: float = 0.0

    @classmethod
    def failed(cls, number: int, reason: str | Exception) -> TrialResult:
        """Return the result of a trial that an error ended. reason: the error, or a sentence about it."""
        is_mistake = isinstance(reason, ClearsightError) and not isinstance(reason, NOT_MISTAKES)
        kind = StopKind.MISTAKE if is_mistake else StopKind.FAILURE
        return cls(number=number, state=TrialState.FAILED, reason=str(reason), stop_kind=kind)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values that `from_json` reads; NaN and infinity become null."""
        values: dict[str, Any] = finite_json(asdict(self))
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "outcome") -> TrialResult:
        """Return the result that `to_json` wrote; null becomes NaN. Raises BadData on `source` for another form."""
        if not isinstance(values, Mapping):
            return read_record(cls, values, source)
        fields = {**values, "stop_kind": stop_kind(values.get("stop_kind"))}
        if "spared_seconds" in fields:  # the name of the field in studies of earlier versions
            fields["saved_seconds"] = fields.pop("spared_seconds")
        return read_record(cls, fields, source)


def complete_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Return the complete trials of this study, in order; trials of earlier studies are left out."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE and not trial.imported]


def best_trial(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """Return the complete trial with the best first value, as `rank` orders them; None if no trial is complete."""
    return next(iter(rank(trials, objective)), None)


def rank(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """Return the complete trials of this study with a finite first value, in the order of `rank_key`."""
    scored = (trial for trial in complete_trials(trials) if math.isfinite(trial.values[0]))
    return sorted(scored, key=lambda trial: rank_key(trial, objective))


def rank_key(trial: Trial, objective: Objective) -> tuple[float, float, int]:
    """Return a key by which the better of two scored trials comes first.

    Scores of few images often tie: of equal values the lower loss on the validation split wins, as within a run. Of
    equal losses the earlier trial wins, so that the best trial never changes without an improvement.
    """
    value, loss = trial.values[0], trial.scores.get("loss", math.inf)
    sign = -1 if objective.direction == "maximize" else 1
    return (sign * value, loss if math.isfinite(loss) else math.inf, trial.number)


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return the Pareto front: the complete trials that no other trial dominates.

    A trial dominates another one if it is better in at least one objective and worse in none.
    """

    def dominates(first: Trial, second: Trial) -> bool:
        pairs = list(zip(objectives, first.values, second.values, strict=True))
        return any(o.better(a, b) for o, a, b in pairs) and not any(o.better(b, a) for o, a, b in pairs)

    complete = complete_trials(trials)
    return [trial for trial in complete if not any(dominates(other, trial) for other in complete)]
