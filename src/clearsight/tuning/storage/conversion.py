"""Trials of ours and of Optuna's: what Optuna has no word for stands in a trial's user attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from clearsight.core.space import Choice, Domain, IntRange
from clearsight.core.trial import Trial, TrialState

_STATES = {
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.WAITING: TrialState.RUNNING,
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAILED,
}

# Fields of a Trial that are kept as user attributes of the same name where they say anything.
_KEPT = (
    "scores",
    "reason",
    "started",
    "seconds",
    "worker",
    "planned",
    "best_epoch",
    "attempts",
    "same_as",
    "source",
    "spared_seconds",
)

_FROM_ZERO = ("worker", "same_as", "seconds")  # a zero says something of these


def state_of(state: TrialState) -> OptunaState:
    """Optuna's word for a state."""
    return next(theirs for theirs, ours in _STATES.items() if ours is state)


def trial_of(frozen: FrozenTrial) -> Trial:
    """Optuna's trial as ours; one that clearsight did not make has the values and times that Optuna knows."""
    said = {name: frozen.user_attrs[name] for name in _KEPT if name in frozen.user_attrs}
    began = _stamp(frozen.datetime_start) if frozen.state.is_finished() else 0.0  # Optuna's is when it was proposed
    told: dict[str, Any] = {"started": began, "seconds": _duration(frozen), **said}
    told["scores"] = {name: math.nan if v is None else float(v) for name, v in told.get("scores", {}).items()}
    state = _STATES[frozen.state]
    return Trial(
        number=frozen.number,
        state=state,
        params=dict(frozen.params),
        values=tuple(frozen.values or ()) if state is TrialState.COMPLETE else (),
        curve=dict(sorted(frozen.intermediate_values.items())),
        **told,
    )


def attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The user attributes that keep some fields of a Trial: JSON values, and none for what says nothing."""
    unknown = set(facts) - set(_KEPT)
    assert not unknown, f"not kept of a trial: {sorted(unknown)}"
    empty: tuple[Any, ...] = (None, "", {})
    kept = {name: value for name, value in facts.items() if value not in empty and (value != 0 or name in _FROM_ZERO)}
    if "scores" in kept:
        kept["scores"] = {name: v if math.isfinite(v) else None for name, v in kept["scores"].items()}
    return kept


def _stamp(when: datetime | None) -> float:
    return when.timestamp() if when is not None else 0.0


def _duration(frozen: FrozenTrial) -> float:
    return frozen.duration.total_seconds() if frozen.duration is not None else 0.0


def distribution_of(domain: Domain) -> BaseDistribution:
    """The distribution that draws from a domain."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, IntRange):
        high = domain.high - (domain.high - domain.low) % domain.step  # Optuna warns of an end that no step reaches
        return IntDistribution(domain.low, high, log=domain.log, step=domain.step)
    last = domain.points(1)[-1] if domain.step is not None else domain.high
    assert isinstance(last, int | float)
    return FloatDistribution(domain.low, last, log=domain.log, step=domain.step)
