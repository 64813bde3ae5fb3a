"""Samplers of one proposal each: by the number of the trial, or fixed; and the seeds of trials."""

from __future__ import annotations

import optuna
from optuna.samplers import BaseSampler

from clearsight.core.space import Choice, FloatRange
from clearsight.tuning.samplers import FixedSampler, PerTrialSampler, trial_seed
from clearsight.tuning.storage.conversion import distribution_of

LR = distribution_of(FloatRange(low=0, high=10))


def test_a_sampler_is_built_from_the_number_of_the_storage() -> None:
    numbers: list[int] = []

    def build(number: int) -> BaseSampler:
        numbers.append(number)
        return FixedSampler({"lr": float(number)})

    storage = optuna.storages.InMemoryStorage()
    first = optuna.create_study(storage=storage, study_name="s", sampler=PerTrialSampler(build))
    second = optuna.load_study(storage=storage, study_name="s", sampler=PerTrialSampler(build))
    proposals = [study.ask() for study in (first, second, first)]
    assert numbers == [0, 1, 2]
    assert proposals[2]._suggest("lr", LR) == 2.0


def test_the_built_sampler_receives_the_end_of_the_trial() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(lambda number: optuna.samplers.TPESampler(seed=number)))
    proposal = study.ask()
    proposal._suggest("lr", LR)
    study.tell(proposal, 1.0)
    assert study.best_value == 1.0


def test_a_fixed_sampler_proposes_its_values() -> None:
    study = optuna.create_study(sampler=FixedSampler({"lr": 0.25, "optimizer": "sgd"}))
    for _ in range(3):  # also when there are trials to learn from
        proposal = study.ask()
        assert proposal._suggest("optimizer", distribution_of(Choice(values=("adamw", "sgd")))) == "sgd"
        assert proposal._suggest("lr", distribution_of(FloatRange(low=0, high=1))) == 0.25
        study.tell(proposal, 1.0)


def test_a_seed_follows_from_study_and_trial() -> None:
    assert trial_seed(3, 7) == trial_seed(3, 7)


def test_no_two_trials_share_a_seed() -> None:
    seeds = [trial_seed(seed, number) for seed in range(50) for number in range(50)]
    assert len(set(seeds)) == len(seeds)


def test_a_seed_is_a_32_bit_number() -> None:
    assert all(0 <= trial_seed(seed, number) < 2**32 for seed in (0, 2**32 - 1) for number in (0, 10_000))


def test_seeds_of_neighbours_are_independent() -> None:
    """Of two independent 32-bit numbers 16 bits differ on average."""
    differing = [(trial_seed(0, number) ^ trial_seed(0, number + 1)).bit_count() for number in range(500)]
    assert 15 < sum(differing) / len(differing) < 17


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert [trial_seed(0, 0), trial_seed(0, 1), trial_seed(1, 0)] == [2968811710, 3964924996, 1835504127]
