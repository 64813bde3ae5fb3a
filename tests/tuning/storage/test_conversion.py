"""A trial is unchanged after Optuna has stored it."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as OptunaState

from clearsight.core.space import Choice, Domain, FloatRange, IntRange
from clearsight.core.trial import Trial, TrialState
from clearsight.tuning.storage.conversion import distribution_of, state_to_optuna, trial_attributes, trial_from_optuna

STORED = {field.name for field in fields(Trial)} - {
    "number",
    "state",
    "params",
    "values",
    "curve",
}  # fields of Optuna's own
FULL = Trial(
    number=0,
    state=TrialState.COMPLETE,
    params={"lr": 0.5},
    values=(0.75,),
    curve={1: 0.5, 2: 0.75},
    scores={"accuracy": 0.75, "loss": 1.5},
    reason="it was stopped",
    started=1_700_000_000.5,
    seconds=12.5,
    worker=3,
    planned=10,
    best_epoch=2,
    attempts=2,
    same_as=7,
    source="earlier",
    saved_seconds=2.5,
)


def through_optuna(trial: Trial) -> Trial:
    frozen = optuna.trial.create_trial(
        state=state_to_optuna(trial.state),
        values=list(trial.values) or None,
        params=dict(trial.params),
        distributions={"lr": optuna.distributions.FloatDistribution(0, 1)},
        intermediate_values=dict(trial.curve),
        user_attrs=trial_attributes({name: getattr(trial, name) for name in STORED}),
    )
    frozen.number = trial.number
    return trial_from_optuna(frozen)


def test_every_field_is_stored() -> None:
    assert through_optuna(FULL) == FULL


@pytest.mark.parametrize("zero", [{"worker": 0}, {"same_as": 0}, {"seconds": 0.0}])
def test_a_meaningful_zero_is_stored(zero: dict[str, Any]) -> None:
    """The first worker, the first trial, and no time at all, whatever Optuna has measured."""
    trial = replace(FULL, **zero)
    assert through_optuna(trial) == trial


def test_empty_fields_are_left_out() -> None:
    empty: dict[str, Any] = {"reason": "", "scores": {}, "started": 0.0, "planned": 0, "worker": None, "same_as": None}
    assert trial_attributes(empty) == {}


def test_a_nan_score_is_null_in_json() -> None:
    assert trial_attributes({"scores": {"loss": math.nan, "accuracy": 0.5}}) == {
        "scores": {"loss": None, "accuracy": 0.5}
    }
    assert math.isnan(through_optuna(replace(FULL, scores={"loss": math.nan})).scores["loss"])


@pytest.mark.parametrize("state", TrialState)
def test_every_state_comes_back(state: TrialState) -> None:
    trial = replace(FULL, state=state, values=FULL.values if state is TrialState.COMPLETE else ())
    assert through_optuna(trial).state is state


def test_every_state_of_optuna_has_one_of_ours() -> None:
    for state in OptunaState:
        values = [0.5] if state is OptunaState.COMPLETE else None
        assert trial_from_optuna(optuna.trial.create_trial(state=state, values=values)).state in TrialState


def test_a_pruned_trial_has_no_value_although_optuna_gives_its_last() -> None:
    study = optuna.create_study()
    proposal = study.ask()
    proposal.report(0.5, 1)
    study.tell(proposal, state=OptunaState.PRUNED)
    assert study.trials[0].values == [0.5]
    assert trial_from_optuna(study.trials[0]).values == ()


def test_a_trial_of_another_program_has_the_times_of_optuna() -> None:
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=1)
    (frozen,) = study.trials
    trial = trial_from_optuna(frozen)
    assert frozen.datetime_start is not None
    assert frozen.duration is not None
    assert trial.started == frozen.datetime_start.timestamp()
    assert trial.seconds == frozen.duration.total_seconds()
    assert not trial.imported


def test_a_waiting_trial_has_not_started() -> None:
    study = optuna.create_study()
    study.ask()
    assert trial_from_optuna(study.trials[0]).started == 0.0


@pytest.mark.parametrize(
    ("domain", "distribution"),
    [
        (FloatRange(low=1e-5, high=0.1, log=True), FloatDistribution(1e-5, 0.1, log=True)),
        (FloatRange(low=0, high=0.5), FloatDistribution(0, 0.5)),
        (FloatRange(low=0, high=0.3, step=0.1), FloatDistribution(0, 0.3, step=0.1)),
        (FloatRange(low=0.05, high=0.9, step=0.1), FloatDistribution(0.05, 0.85, step=0.1)),
        (IntRange(low=5, high=40), IntDistribution(5, 40)),
        (IntRange(low=8, high=512, log=True), IntDistribution(8, 512, log=True)),
        (IntRange(low=5, high=40, step=10), IntDistribution(5, 35, step=10)),
        (Choice(values=("a", 1, None, True)), CategoricalDistribution(("a", 1, None, True))),
    ],
)
def test_a_domain_becomes_a_distribution(domain: Domain, distribution: BaseDistribution) -> None:
    assert distribution_of(domain) == distribution


@pytest.mark.parametrize("domain", [FloatRange(low=0.05, high=0.9, step=0.1), IntRange(low=5, high=40, step=10)])
def test_a_distribution_contains_every_step(domain: FloatRange | IntRange) -> None:
    distribution = distribution_of(domain)
    assert all(distribution._contains(distribution.to_internal_repr(value)) for value in domain.grid_values(5))


def test_a_trial_of_an_earlier_version_is_read() -> None:
    attributes = {"spared_seconds": 2.5, "reason": "stopped by SIGINT"}
    frozen = optuna.trial.create_trial(state=OptunaState.FAIL, user_attrs=attributes)
    trial = trial_from_optuna(frozen)
    assert (trial.saved_seconds, trial.reason, trial.stop_kind) == (2.5, "stopped by SIGINT", None)
