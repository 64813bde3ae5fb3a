"""A trial's sampler is made once its number is known, whoever asked at the same moment."""

from __future__ import annotations

import optuna
from optuna.samplers import BaseSampler

from clearsight.core.space import Choice, FloatRange
from clearsight.tuning.samplers import FixedSampler, PerTrialSampler, trial_seed
from clearsight.tuning.storage.conversion import distribution_of

LR = distribution_of(FloatRange(low=0, high=10))


def test_draws_by_the_number_that_the_storage_gave() -> None:
    made: list[int] = []

    def make(number: int) -> BaseSampler:
        made.append(number)
        return FixedSampler({"lr": float(number)})

    storage = optuna.storages.InMemoryStorage()
    one = optuna.create_study(storage=storage, study_name="s", sampler=PerTrialSampler(make))
    other = optuna.load_study(storage=storage, study_name="s", sampler=PerTrialSampler(make))
    asked = [study.ask() for study in (one, other, one)]
    assert made == [0, 1, 2]
    assert asked[2]._suggest("lr", LR) == 2.0


def test_is_told_of_the_end() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(lambda number: optuna.samplers.TPESampler(seed=number)))
    asked = study.ask()
    asked._suggest("lr", LR)
    study.tell(asked, 1.0)
    assert study.best_value == 1.0


def test_proposes_the_point() -> None:
    study = optuna.create_study(sampler=FixedSampler({"lr": 0.25, "optimizer": "sgd"}))
    for _ in range(3):  # also where there are trials to learn from
        asked = study.ask()
        assert asked._suggest("optimizer", distribution_of(Choice(values=("adamw", "sgd")))) == "sgd"
        assert asked._suggest("lr", distribution_of(FloatRange(low=0, high=1))) == 0.25
        study.tell(asked, 1.0)


def test_is_a_function() -> None:
    assert trial_seed(3, 7) == trial_seed(3, 7)


def test_no_two_proposals_share_their_draws() -> None:
    seeds = [trial_seed(seed, number) for seed in range(50) for number in range(50)]
    assert len(set(seeds)) == len(seeds)


def test_fits_everybody_who_takes_seeds() -> None:
    assert all(0 <= trial_seed(seed, number) < 2**32 for seed in (0, 2**32 - 1) for number in (0, 10_000))


def test_neighbours_are_nothing_alike() -> None:
    """Of two independent 32-bit numbers 16 bits differ on average."""
    differing = [(trial_seed(0, number) ^ trial_seed(0, number + 1)).bit_count() for number in range(500)]
    assert 15 < sum(differing) / len(differing) < 17


def test_is_the_same_on_every_machine() -> None:
    assert [trial_seed(0, 0), trial_seed(0, 1), trial_seed(1, 0)] == [2968811710, 3964924996, 1835504127]
