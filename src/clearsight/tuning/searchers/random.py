"""Random: every trial drawn independently, uniformly in its ranges."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import UnlimitedSearcher, trial_seed


class Random(UnlimitedSearcher):
    """Random search. Source: Bergstra and Bengio 2012, "Random Search for Hyper-Parameter Optimization"."""

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        return RandomSampler(seed=trial_seed(seed, number))
