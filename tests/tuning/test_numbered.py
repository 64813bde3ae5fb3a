"""A trial's sampler is made once its number is known, whoever asked at the same moment."""

from __future__ import annotations

import optuna
from optuna.samplers import BaseSampler

from clearsight.core.space import FloatRange
from clearsight.tuning.distributions import distribution_of
from clearsight.tuning.given import FixedSampler
from clearsight.tuning.numbered import PerTrialSampler

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
