"""A trial: one point of a search space and what came of it; and what a study aims at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from clearsight.core.space import Params

Direction = Literal["maximize", "minimize"]

# What a study can aim at, and the better direction: scores of the validation split at the best epoch, then facts.
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


class TrialState(StrEnum):
    """How a trial stands. Pruned ones were stopped with a reason; their last values count for the search alone."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric and which way is better."""

    metric: str
    direction: Direction

    def better(self, value: float, than: float) -> bool:
        """Whether one value beats another."""
        return value > than if self.direction == "maximize" else value < than


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One point of the space and what came of it.

    values: one per objective, of a complete trial.  curve: epoch -> first objective on the validation split.
    seconds: of work on it, all attempts.  started: Unix time; 0.0 while it waits.  worker: which one had it, or None.
    planned: epochs that its recipe asks for.  reason: why it was pruned or failed, one sentence.
    same_as: the trial with the same recipe that it was answered from.  source: the earlier study that it comes from.
    spared_seconds: forward passes that it did not make because their features were there.
    """

    number: int
    state: TrialState
    params: Params
    values: tuple[float, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    worker: int | None = None
    planned: int = 0
    best_epoch: int | None = None
    attempts: int = 1
    same_as: int | None = None
    source: str = ""
    spared_seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return max(self.curve, default=0) if self.same_as is None else 0

    @property
    def own(self) -> bool:
        """Whether it was tried in this study, not brought along from another."""
        return not self.source


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """What came of a trial; lies as outcome.json in its folder before anybody is told.

    state: never running; "interrupted" trials have no outcome.  curve: epoch -> scores of the validation split.
    """

    number: int
    state: TrialState
    values: tuple[float, ...] = ()
    reason: str = ""
    curve: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int | None = None
    started: float = 0.0
    seconds: float = 0.0
    spared_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that `from_json` reads; numbers that are none are null."""
        curve = {str(epoch): _plain(scores) for epoch, scores in self.curve.items()}
        values = [value if math.isfinite(value) else None for value in self.values]
        return {**asdict(self), "values": values, "curve": curve, "scores": _plain(self.scores)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrialResult:
        """The outcome that `to_json` gave."""
        told = dict(values)
        told["state"] = TrialState(told["state"])
        told["values"] = tuple(math.nan if value is None else float(value) for value in told["values"])
        told["curve"] = {int(epoch): _numbers(scores) for epoch, scores in told["curve"].items()}
        told["scores"] = _numbers(told["scores"])
        return cls(**told)


def complete_trials(trials: Sequence[Trial]) -> list[Trial]:
    """Trials of this study that ended well, in order."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.own]


def best_trial(trials: Sequence[Trial], aim: Objective) -> Trial | None:
    """The complete trial with the best first value, the earliest of equals; None where none is complete."""
    best: Trial | None = None
    for trial in complete_trials(trials):
        if math.isfinite(trial.values[0]) and (best is None or aim.better(trial.values[0], best.values[0])):
            best = trial
    return best


def pareto_front(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """The complete trials that no other beats in one objective without losing in another (the Pareto front)."""

    def dominates(one: Trial, other: Trial) -> bool:
        pairs = list(zip(objectives, one.values, other.values, strict=True))
        return any(o.better(a, b) for o, a, b in pairs) and not any(o.better(b, a) for o, a, b in pairs)

    done = complete_trials(trials)
    return [trial for trial in done if not any(dominates(other, trial) for other in done)]


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _numbers(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in scores.items()}
