"""CMAES: evolution of a normal distribution; for many trials over numeric settings that act jointly."""

from __future__ import annotations

from optuna.samplers import BaseSampler, CmaEsSampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import UnlimitedSearcher, trial_seed
from clearsight.tuning.searchers.random import Random


class CMAES(UnlimitedSearcher):
    """Covariance matrix adaptation. Choices and conditional settings are drawn at random.

    Optuna keeps the state of the adaptation pickled beside the trials. Such state is neither written to a storage nor
    read from one, so a resumed study starts the adaptation again. Source: Hansen 2016, "The CMA Evolution Strategy: A
    Tutorial".
    """

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return CmaEsSampler(seed=trial_seed(seed, number), independent_sampler=Random().sampler(space, seed, number))
