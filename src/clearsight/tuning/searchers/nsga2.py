"""NSGA2: genetic search, for several objectives."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from clearsight.core.space import Space
from clearsight.tuning.samplers import UnlimitedSearcher, trial_seed


class NSGA2(UnlimitedSearcher):
    """Genetic search with non-dominated sorting and populations of 20 trials.

    Source: Deb et al. 2002, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II".
    """

    pruner = "none"

    def sampler(self, space: Space, seed: int, number: int) -> BaseSampler:
        # Optuna's default of 50 trials per generation would leave most studies in the first one, which is random.
        return NSGAIISampler(population_size=20, seed=trial_seed(seed, number))
