"""Conversion between our trials and domains and Optuna's; fields that Optuna lacks become attributes of its trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from clearsight.core.space import Choice, Dimension, Domain, IntRange, Params, Space, Value
from clearsight.core.stop import stop_kind
from clearsight.core.trial import Trial, TrialState

_STATES = {
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.WAITING: TrialState.RUNNING,
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAILED,
}

# Fields of a Trial that become user attributes of the same name: Optuna's trials have none of their own for them.
_ATTRIBUTES = {field.name for field in fields(Trial)} - {"number", "state", "params", "values", "curve"}
_ZERO_COUNTS = ("worker", "same_as", "seconds")  # the first worker, the first trial, and a result that cost no time


def state_to_optuna(state: TrialState) -> OptunaState:
    """Return Optuna's state for ours."""
    return next(optuna_state for optuna_state, own_state in _STATES.items() if own_state is state)


def trial_from_optuna(frozen: FrozenTrial) -> Trial:
    """Return Optuna's trial as ours; one that clearsight did not make has the values and times of Optuna."""
    known: dict[str, Any] = {"started": 0.0, "seconds": 0.0}
    # Optuna's start is the time of the proposal, which says nothing of a trial that still waits for a worker.
    if frozen.state.is_finished() and frozen.datetime_start is not None:
        known["started"] = frozen.datetime_start.timestamp()
    if frozen.duration is not None:
        known["seconds"] = frozen.duration.total_seconds()
    if "spared_seconds" in frozen.user_attrs:  # the name of the attribute in studies of earlier versions
        known["saved_seconds"] = frozen.user_attrs["spared_seconds"]
    known |= {name: frozen.user_attrs[name] for name in _ATTRIBUTES if name in frozen.user_attrs}
    known["scores"] = {name: math.nan if v is None else float(v) for name, v in known.get("scores", {}).items()}
    known["stop_kind"] = stop_kind(known.get("stop_kind"))
    state = _STATES[frozen.state]
    return Trial(
        number=frozen.number,
        state=state,
        params=dict(frozen.params),
        values=tuple(frozen.values or ()) if state is TrialState.COMPLETE else (),  # Optuna gives pruned trials one too
        curve=dict(sorted(frozen.intermediate_values.items())),
        **known,
    )


def trial_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user attributes that keep some fields of a Trial, as JSON values; empty fields are left out."""
    unknown = set(values) - _ATTRIBUTES
    assert not unknown, f"not an attribute of a trial: {sorted(unknown)}"
    empty: tuple[Any, ...] = (None, "", {})
    attributes = {
        name: value for name, value in values.items() if value not in empty and (value != 0 or name in _ZERO_COUNTS)
    }
    if "scores" in attributes:
        # JSON has no NaN, and the databases behind a storage refuse it.
        attributes["scores"] = {name: v if math.isfinite(v) else None for name, v in attributes["scores"].items()}
    return attributes


def drawn_dimensions(space: Space, params: Params) -> Iterator[Dimension]:
    """Yield the dimensions that a trial's values were drawn from, one for each setting."""
    applied: dict[str, Value] = {}
    for dimension in space.dimensions:
        if dimension.name not in applied and dimension.applies(applied):
            applied[dimension.name] = params[dimension.name]
            yield dimension


def distribution_of(domain: Domain) -> BaseDistribution:
    """Return Optuna's distribution for a domain."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, IntRange):
        high = domain.high - (domain.high - domain.low) % domain.step  # Optuna warns of an end that no step reaches
        return IntDistribution(domain.low, high, log=domain.log, step=domain.step)
    last = domain.grid_values(1)[-1] if domain.step is not None else domain.high
    assert isinstance(last, int | float)
    return FloatDistribution(domain.low, last, log=domain.log, step=domain.step)
